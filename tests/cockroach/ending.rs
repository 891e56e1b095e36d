use redrill::kubernetes::{POD, wait_for};

use crate::place::{DEADLINE, Place};

/// Gives a signal to a thread of the pod's first process that is not its first, as a kernel may with any of the process.
const TELL_ANOTHER_THREAD: &str = "
import ctypes, os
thread = max(int(name) for name in os.listdir('/proc/1/task'))
assert thread != 1
TGKILL, SIGTERM = 234, 15
assert ctypes.CDLL(None).syscall(TGKILL, 1, thread, SIGTERM) == 0
";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_does_so_whichever_of_its_threads_hears_it() {
    let place = Place::start("told").await;
    let tell = shell_words::quote(TELL_ANOTHER_THREAD);
    place.operator(&format!("kubectl exec estafette-ci-db-0 -- python3 -c {tell}")).await;
    let home = place.local.clusters.home();
    let ended = wait_for("the server has ended in order", DEADLINE, async || {
        let pod = home.get(POD, "estafette-ci", "estafette-ci-db-0").await?.unwrap_or_default();
        let status = &pod["status"]["containerStatuses"][0];
        let code = &status["lastState"]["terminated"]["exitCode"];
        Ok(if code == 0 { Ok(()) } else { Err(status.to_string()) })
    });
    ended.await.unwrap();
    place.end().await;
}
