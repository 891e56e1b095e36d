//! Pods as sandboxed processes of this machine.
