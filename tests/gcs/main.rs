//! The store for Google Cloud Storage under the real gsutil, as a runbook and a CronJob would use it.

mod place;
mod quetzal;

use place::{BUCKET, Place};

/// Random, so that it does not compress, and bigger than what fits one request.
const BYTES: &str = "50000000";

#[tokio::test(flavor = "multi_thread")]
async fn gsutil_uploads_lists_and_downloads_byte_by_byte() {
    let place = Place::start("gsutil").await;
    place.client().await;
    let sh = async |line: &str| place.sh("client", line).await;

    sh(&format!("head -c {BYTES} /dev/urandom > /tmp/big")).await;
    sh(&format!("cat /tmp/big | gsutil -q cp - gs://{BUCKET}/db/streamed")).await;
    sh(&format!("gsutil -q cp /tmp/big gs://{BUCKET}/db/resumable")).await;
    sh(&format!("gsutil -q cp /etc/boto.cfg gs://{BUCKET}/db/a-small-one")).await;
    let listed = sh(&format!("gsutil ls gs://{BUCKET}/db/")).await;
    let names = ["a-small-one", "resumable", "streamed"].map(|name| format!("gs://{BUCKET}/db/{name}\n"));
    assert_eq!(listed, names.concat());

    sh(&format!("mkdir /tmp/back && gsutil -q cp 'gs://{BUCKET}/db/*' /tmp/back/")).await;
    sh("cmp /tmp/big /tmp/back/streamed && cmp /tmp/big /tmp/back/resumable && cmp /etc/boto.cfg /tmp/back/a-small-one").await;
    let sizes = sh(&format!("gsutil du gs://{BUCKET}/db/streamed")).await;
    assert!(sizes.starts_with(BYTES), "{sizes}");
    // In files: the server could be started anew.
    let kept = place.sh("store-backups", "cd /objects && find . -type f -size +1M | sort").await;
    assert_eq!(kept, format!("./{BUCKET}/db/resumable\n./{BUCKET}/db/streamed\n"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_an_error_that_names_it() {
    let place = Place::start("missing").await;
    place.client().await;
    let refused = async |line: &str| {
        let (code, said) = place.try_sh("client", line).await;
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let said = refused(&format!("gsutil cp gs://{BUCKET}/db/none /tmp/none")).await;
    assert!(said.contains(&format!("No URLs matched: gs://{BUCKET}/db/none")), "{said}");
    for line in ["echo dump | gsutil cp - gs://no-such-bucket/db/dump", "gsutil ls gs://no-such-bucket"] {
        let said = refused(line).await;
        assert!(said.contains("BucketNotFoundException: 404 gs://no-such-bucket"), "{said}");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test gcs -- --ignored --nocapture"]
async fn a_gigabyte_there_and_back_and_what_the_server_takes_for_it() {
    let place = Place::start("gigabyte").await;
    place.client().await;
    let timed = async |line: &str| {
        let start = std::time::Instant::now();
        place.sh("client", line).await;
        start.elapsed()
    };
    timed("head -c 1073741824 /dev/urandom > /tmp/big").await;
    let up = timed(&format!("cat /tmp/big | gsutil -q cp - gs://{BUCKET}/db/big")).await;
    let memory = place.sh("store-backups", "grep VmHWM /proc/1/status").await;
    let down = timed(&format!("gsutil -q cp gs://{BUCKET}/db/big /tmp/back && cmp /tmp/big /tmp/back")).await;
    println!("1 GiB: up {up:.1?}, down and compared {down:.1?}, the server's {}", memory.trim());
    place.end().await;
}
