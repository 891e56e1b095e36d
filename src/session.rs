//! Sessions: a person at a terminal, typing the steps of a procedure.

use crate::runtime::{ByteReader, ByteWriter};
use futures::future::BoxFuture;

/// A terminal that somebody's shell runs on, wherever it is (a pod, this machine): what a person sits at.
pub struct Terminal {
    pub input: ByteWriter,
    pub output: ByteReader,
    /// The shell's exit code when it ends; `None` when the connection was lost before it was known.
    pub exit: BoxFuture<'static, Option<i32>>,
}
