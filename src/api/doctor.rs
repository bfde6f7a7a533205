//! The route of doctor.

use axum::Json as JsonBody;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::{ApiError, Problems},
    extract::Query,
    schema::{DoctorQuery, DoctorReport},
    state::ApiState,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(diagnose))
}

/// Find what is wrong with the database, the schema and the processes, and what helps. It changes
/// nothing.
///
/// Each check may take 2 s, all together 20 s. The answer is 200 whatever is found: `result` says
/// how bad it is. If the database cannot be reached, the check `connection` says so.
#[utoipa::path(
    get, path = "/doctor", tag = "installation", params(DoctorQuery),
    responses((status = 200, description = "What each check says.", body = DoctorReport), Problems),
)]
async fn diagnose(
    caller: Caller,
    Query(query): Query<DoctorQuery>,
) -> Result<JsonBody<DoctorReport>, ApiError> {
    Ok(JsonBody(caller.broker.diagnose(query.check.map(Into::into)).await.into()))
}
