//! The tasks that read and write open connections.

use std::{pin::pin, time::Duration};

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long a connection may take to end in good order. Over TLS the end is the last thing that is
/// sent, and a receiver may read nothing any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The tasks of one client. When it is dropped, they end within [`CLOSE_TIMEOUT`].
#[derive(Default)]
pub(super) struct Drivers {
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Drivers {
    /// Polls a connection until it ends. When the guard is dropped, the connection is closed.
    ///
    /// If the task panics, a request in flight gets an error, and the connection is not used again.
    pub(super) fn drive(
        &self,
        connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
    ) -> DropGuard {
        let unused = self.closing.child_token();
        let guard = unused.clone().drop_guard();
        self.tasks.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = &mut connection => Ok(ended),
                () = unused.cancelled() => tokio::time::timeout(CLOSE_TIMEOUT, connection).await,
            };
            // A request in flight gets the same error. Without one the error does not matter.
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::trace!(%error, "connection ended"),
                Err(_) => tracing::trace!("connection was cut off: it did not end in time"),
            }
        });
        guard
    }

    /// Closes all connections, and waits until their tasks have ended.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
