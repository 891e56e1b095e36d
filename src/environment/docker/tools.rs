//! Programs that drills need and the machine cannot get by itself, got in a container and taken out of it: it may have nothing but an
//! engine.

use std::collections::BTreeMap;
use std::path::Path;

use testcontainers::bollard::query_parameters::RemoveImageOptions;

use super::recipe::Recipe;
use super::taking::Taking;
use super::{base, build};
use crate::doctor::{by_name, tools_folder};
use crate::environment::EnvironmentError;
use crate::runtime::container;

/// What the user's folder for data is in there.
const DATA: &str = "/opt/data";
/// Where programs are below that.
const TOOLS: &str = "redrill/tools";

/// Gets programs ([`by_name::is_known`]) for this user; `tell` hears of each thing as it begins.
pub async fn get(names: &[String], mut tell: impl FnMut(&str)) -> Result<(), EnvironmentError> {
    let target = tools_folder().ok_or_else(|| EnvironmentError::Failed {
        doing: "find this user's folder for programs".to_owned(),
        reason: "neither XDG_DATA_HOME nor HOME is set".to_owned(),
    })?;
    let program = std::env::current_exe().map_err(EnvironmentError::io("find the running program"))?;
    let docker = container::connect().await?;
    let base = base::provide(&docker, &mut tell).await?;
    let recipe = Recipe::with("tools", &dockerfile(names), &[("redrill", &program)]);
    let image = build::reference(&recipe, &base)?;
    tell(&format!("{image}, to get {} in", names.join(", ")));
    build::build(&docker, std::slice::from_ref(&recipe), &base, |_| {}).await?;
    let mut run = Taking::begin("tools")?;
    let taken = run.take(&image, &format!("{DATA}/{TOOLS}")).await;
    let io = EnvironmentError::io(format!("put programs into {}", target.display()));
    let put = run.end(taken.and_then(|archive| put(&archive, &target).map_err(io))).await;
    // It has served; where it stays, the next one is quicker.
    drop(docker.remove_image(&image, None::<RemoveImageOptions>, None).await);
    put
}

fn dockerfile(names: &[String]) -> String {
    let names = names.join(" ");
    // Where this machine gets modules of Go from, others may not be had from here.
    let settings: BTreeMap<&str, String> = ["GOPROXY", "GOSUMDB", "GONOSUMDB"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?)))
        .collect();
    let settings: String = settings.iter().map(|(name, value)| format!("ENV {name}={value:?}\n")).collect();
    // apt's lists stay: they say which mirror it is.
    format!(
        "ARG BASE=debian:bookworm\nFROM ${{BASE}}\nRUN apt-get update && apt-get install --no-install-recommends -y ca-certificates\n\
         {settings}COPY redrill /usr/local/bin/redrill\nENV XDG_DATA_HOME={DATA}\nRUN redrill {} {names}\n",
        by_name::HELPER
    )
}

/// Unpacks the programs beside their place and moves each there.
fn put(archive: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(target)?;
    let work = tempfile::Builder::new().prefix(".get-").tempdir_in(target)?;
    tar::Archive::new(std::fs::File::open(archive)?).unpack(work.path())?;
    for entry in std::fs::read_dir(work.path().join("tools"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::rename(entry.path(), target.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_put_where_programs_are_looked_for() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("tools.tar");
        let mut tar = tar::Builder::new(std::fs::File::create(&archive).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o755);
        tar.append_data(&mut header, "tools/kubectl", &b"text"[..]).unwrap();
        tar.into_inner().unwrap();
        let target = folder.path().join("data/redrill/tools");
        put(&archive, &target).unwrap();
        assert_eq!(std::fs::read(target.join("kubectl")).unwrap(), b"text");
        assert_eq!(std::fs::metadata(target.join("kubectl")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 1, "nothing else stays");
    }

    #[test]
    fn every_program_that_images_take_from_this_machine_can_be_got() {
        let names = ["ferretdb", "kubectl", "fake-gcs-server", "helm", "helm-diff"].map(str::to_owned);
        assert!(names.iter().all(|name| by_name::is_known(name)) && !by_name::is_known("mongod"));
        let text = dockerfile(&names[..2]);
        assert!(text.ends_with("RUN redrill __get ferretdb kubectl\n"), "{text}");
    }
}
