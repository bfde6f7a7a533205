//! How many bytes the bodies of all requests may have together.
//!
//! A request takes its share before its body is read, and gives it back with its answer. So what is
//! read and parsed of bodies is bounded, however many connections there are.

use std::{sync::Arc, time::Duration};

use axum::{
    body::HttpBody as _,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;

use super::error::ApiError;

/// How long a request waits for its share.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The bytes that are free.
pub(super) struct BodyLimit {
    free: Semaphore,
    /// The most bytes of one body.
    one: usize,
    /// The most bytes of all bodies.
    all: usize,
    /// How long a request waits for its share.
    patience: Duration,
}

impl BodyLimit {
    /// There is always room for one body, however small `all` is.
    pub(super) fn new(one: usize, all: usize, patience: Duration) -> Self {
        let all = all.max(one);
        Self { free: Semaphore::new(all), one, all, patience }
    }

    /// The share of a request, in bytes. A body that does not say how long it is may become as long
    /// as a body may be. One that says that it is too long is refused before it is read.
    fn share(&self, request: &Request) -> usize {
        let length = request.body().size_hint().upper().map_or(Ok(self.one), usize::try_from);
        length.ok().filter(|length| *length <= self.one).unwrap_or_default()
    }
}

/// Lets a request through if there is room for its body.
pub(super) async fn bound_bodies(
    State(limit): State<Arc<BodyLimit>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // No body may have more than a gigabyte.
    let share = u32::try_from(limit.share(&request)).unwrap_or(u32::MAX);
    let had = tokio::time::timeout(limit.patience, limit.free.acquire_many(share)).await;
    let Ok(Ok(_share)) = had else { return Err(ApiError::TooManyBodies(limit.all)) };
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::Body,
        http::{StatusCode, header::RETRY_AFTER},
        middleware,
        routing::post,
    };
    use tokio::task::JoinHandle;
    use tower::ServiceExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);

    struct Scene {
        router: Router,
        limit: Arc<BodyLimit>,
        begun: Arc<Semaphore>,
        answers: Arc<Semaphore>,
    }

    /// A server of bodies up to 8 bytes, and 10 bytes together. Its handler says that it has begun,
    /// and answers when it is told to.
    fn scene(patience: Duration) -> Scene {
        let limit = Arc::new(BodyLimit::new(8, 10, patience));
        let [begun, answers] = [0, 0].map(|none| Arc::new(Semaphore::new(none)));
        let (started, answer) = (Arc::clone(&begun), Arc::clone(&answers));
        let handler = async move || {
            started.add_permits(1);
            answer.acquire().await.unwrap().forget();
        };
        let layer = middleware::from_fn_with_state(Arc::clone(&limit), bound_bodies);
        Scene { router: Router::new().route("/", post(handler)).layer(layer), limit, begun, answers }
    }

    impl Scene {
        fn send(&self, body: impl Into<Body>) -> JoinHandle<Response> {
            let request = Request::post("/").body(body.into()).unwrap();
            let router = self.router.clone();
            tokio::spawn(async { router.oneshot(request).await.unwrap() })
        }

        /// The same, until its handler has begun.
        async fn begin(&self, body: impl Into<Body>) -> JoinHandle<Response> {
            let sent = self.send(body);
            tokio::time::timeout(LONG, self.begun.acquire()).await.unwrap().unwrap().forget();
            sent
        }

        fn free(&self) -> usize {
            self.limit.free.available_permits()
        }
    }

    #[tokio::test]
    async fn a_body_for_which_there_is_no_room_is_refused_after_a_moment() {
        let scene = scene(SHORT);
        let first = scene.begin("12345678").await;
        let refused = tokio::time::timeout(LONG, scene.send("123")).await.unwrap().unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        scene.begin("12").await;
        scene.answers.add_permits(2);
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn an_answer_gives_its_room_to_the_next() {
        let scene = scene(LONG);
        let first = scene.begin("12345678").await;
        let second = scene.send("12345678");
        scene.answers.add_permits(2);
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        assert_eq!(second.await.unwrap().status(), StatusCode::OK);
        assert_eq!(scene.free(), 10);
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_its_length_counts_as_the_longest() {
        let scene = scene(LONG);
        let one = futures_util::stream::iter([Ok::<_, std::io::Error>("1")]);
        scene.begin(Body::from_stream(one)).await;
        assert_eq!(scene.free(), 2);
    }

    /// Its handler refuses it, at once.
    #[tokio::test]
    async fn a_body_that_is_too_long_waits_for_nobody() {
        let scene = scene(LONG);
        scene.begin("12345678").await;
        scene.begin("123456789").await;
        assert_eq!(scene.free(), 2);
    }
}
