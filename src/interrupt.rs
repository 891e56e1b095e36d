//! Signals: the first asks the run to tear down, the second gives up at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGINT, SIGTERM or SIGHUP cancels. A second signal ends the process with the code a shell would show for it;
/// what it had running dies with it, since every fabric watches for that.
///
/// Errs where the process may not handle signals.
pub fn watch() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let token = token.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if token.is_cancelled() {
                    crate::console::err("redrill: gave up at once; `redrill gc` removes what files are left");
                    std::process::exit(128 + kind.as_raw_value());
                }
                crate::console::err("redrill: interrupted, tearing down (again to give up at once)");
                token.cancel();
            }
        });
    }
    Ok(token)
}
