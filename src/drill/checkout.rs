//! The scenario's folder in the operator's home, as if it had been checked out there.

use std::fs::File;
use std::io;

use crate::drill::record::Halt;
use crate::drill::{stage, station};
use crate::kubernetes::Kubernetes;
use crate::scenario::{Checkout, EntryKind};

/// Puts it there and says where. The operator owns it and may write to all of it; modes are those of the folder otherwise.
pub async fn put(kubernetes: &Kubernetes, checkout: &Checkout) -> Result<String, Halt> {
    let archive = archive(checkout).map_err(|error| {
        let reason = format!("{}: the folder cannot be read: {error}", checkout.source);
        Halt::unverified(reason, "make it readable, and leave it alone while a drill starts")
    })?;
    // Times as of now: what a person checks out is new.
    let script = format!("head -c {} | tar -x -m -o -p -f - -C {}", archive.len(), station::HOME);
    stage::on_workstation(kubernetes, "put the checkout there", &script, &archive).await?;
    Ok(format!("{}/{}", station::HOME, checkout.name))
}

fn archive(checkout: &Checkout) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in checkout.entries()? {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        match entry.kind {
            EntryKind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(entry.mode | 0o700);
                header.set_size(0);
                archive.append_data(&mut header, &entry.path, io::empty())?;
            }
            EntryKind::File => {
                let file = File::open(checkout.place(&entry))?;
                header.set_mode(entry.mode | 0o600);
                header.set_size(file.metadata()?.len());
                archive.append_data(&mut header, &entry.path, file)?;
            }
            EntryKind::Other => {
                let message = format!("{} is neither a file nor a folder", entry.path.display());
                return Err(io::Error::other(message));
            }
        }
    }
    archive.into_inner()
}
