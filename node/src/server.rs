//! The one listener of a node: peers, clients and health checks.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Json, JsonConfig, Path, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use dmnode_model::api::{
    BinlogSchemaRequest, CTL_PREFIX, CheckTaskRequest, CtlRequest, DecryptRequest, DiffRequest,
    EncryptRequest, GetConfigRequest, HandleErrorRequest, LOG_INDEX_HEADER, ListCreatedRequest,
    ListMemberRequest, OperateSourceRequest, OperateTableRequest, OperateTaskRequest, QueryStatusRequest,
    REQUEST_ID_HEADER, StartTaskRequest, TransferSourceRequest, UpdateTaskRequest,
};
use dmnode_model::status::PlainResponse;
use dmnode_raft::{MAX_RPC_BODY, RaftNodeError};
use serde::Serialize;
use uuid::Uuid;

use crate::control::{Control, Reply};
use crate::peers::{ConfigAnswer, INTERNAL_PREFIX, StatusQuery};

/// Threads that serve connections; the work itself is done elsewhere.
const WORKERS: usize = 2;
/// Requests of clients: a few configuration files.
const CLIENT_BODY_MAX: usize = 8 << 20;
/// A connection without a request is closed after this time.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a request may take to arrive.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a clean stop waits for requests that are being served.
const STOP_TIMEOUT_SECONDS: u64 = 3;
/// A request id is made by the client; this is more than a UUID needs.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Serves `control` on a socket that is already bound.
pub fn serve(listener: TcpListener, control: Arc<Control>) -> std::io::Result<Server> {
    let data = Data::from(control);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(PayloadConfig::new(MAX_RPC_BODY))
            .app_data(
                JsonConfig::default()
                    .limit(CLIENT_BODY_MAX)
                    .content_type_required(false)
                    .error_handler(bad_json),
            )
            .route("/health", web::get().to(health))
            .route("/raft/{path:.*}", web::post().to(raft))
            .service(
                web::scope(INTERNAL_PREFIX)
                    .route("/status", web::post().to(internal_status))
                    .route("/config", web::post().to(internal_config)),
            )
            .service(
                web::scope(CTL_PREFIX)
                    .route(StartTaskRequest::NAME, web::post().to(start_task))
                    .route(UpdateTaskRequest::NAME, web::post().to(update_task))
                    .route(ListCreatedRequest::NAME, web::post().to(list_created))
                    .route(OperateTaskRequest::NAME, web::post().to(operate_task))
                    .route(OperateTableRequest::NAME, web::post().to(operate_table))
                    .route(HandleErrorRequest::NAME, web::post().to(handle_error))
                    .route(QueryStatusRequest::NAME, web::post().to(query_status))
                    .route(CheckTaskRequest::NAME, web::post().to(check_task))
                    .route(OperateSourceRequest::NAME, web::post().to(operate_source))
                    .route(TransferSourceRequest::NAME, web::post().to(transfer_source))
                    .route(ListMemberRequest::NAME, web::post().to(list_member))
                    .route(GetConfigRequest::NAME, web::post().to(get_config))
                    .route(EncryptRequest::NAME, web::post().to(encrypt))
                    .route(DecryptRequest::NAME, web::post().to(decrypt))
                    .route(BinlogSchemaRequest::NAME, web::post().to(binlog_schema))
                    .route(DiffRequest::NAME, web::post().to(diff)),
            )
            .default_service(web::to(not_found))
    })
    .workers(WORKERS)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(REQUEST_HEAD_TIMEOUT)
    .shutdown_timeout(STOP_TIMEOUT_SECONDS)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

async fn health(control: Data<Control>) -> HttpResponse {
    let id = control.raft.id().map(|id| id.0);
    let leader = control.raft.leader().map(|(_, addr)| addr);
    HttpResponse::Ok().json(serde_json::json!({"name": control.settings.name, "id": id, "leader": leader, "version": crate::VERSION}))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    HttpResponse::NotFound()
        .json(PlainResponse { result: false, msg: format!("no such path: {}", request.path()) })
}

async fn raft(control: Data<Control>, path: Path<String>, body: Bytes) -> HttpResponse {
    match control.raft.handle_rpc(&path, body).await {
        Ok(bytes) => HttpResponse::Ok().content_type("application/octet-stream").body(bytes),
        Err(err) => {
            tracing::debug!(path = %path, error = %err, "message of a peer refused");
            HttpResponse::ServiceUnavailable().json(PlainResponse { result: false, msg: err.to_string() })
        }
    }
}

async fn internal_status(control: Data<Control>, query: Json<StatusQuery>) -> HttpResponse {
    HttpResponse::Ok().json(control.local_status(&query))
}

async fn internal_config(control: Data<Control>) -> HttpResponse {
    HttpResponse::Ok().json(ConfigAnswer { toml: control.settings.to_toml() })
}

fn bad_json(err: actix_web::error::JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let body = PlainResponse { result: false, msg: format!("the request is not understood: {err}") };
    actix_web::error::InternalError::from_response(err, HttpResponse::BadRequest().json(body)).into()
}

/// The client's request id, or a new one for a client that has none.
fn request_id(request: &HttpRequest) -> Result<String, Box<HttpResponse>> {
    let Some(value) = request.headers().get(REQUEST_ID_HEADER) else { return Ok(Uuid::new_v4().to_string()) };
    match value.to_str().map(str::trim) {
        Ok(id)
            if !id.is_empty()
                && id.len() <= REQUEST_ID_BYTES_MAX
                && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(id.to_owned())
        }
        _ => {
            let msg = format!(
                "{REQUEST_ID_HEADER} is no usable id: up to {REQUEST_ID_BYTES_MAX} visible characters"
            );
            Err(Box::new(HttpResponse::BadRequest().json(PlainResponse { result: false, msg })))
        }
    }
}

/// Runs a command to its end on the node's own threads: a client that goes away does not cut it in half.
async fn run<T, F>(control: &Data<Control>, command: F) -> HttpResponse
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<Reply<T>, RaftNodeError>> + Send + 'static,
{
    match control.pool.spawn(command).await {
        Ok(Ok(reply)) => {
            HttpResponse::Ok().insert_header((LOG_INDEX_HEADER, reply.index.to_string())).json(reply.body)
        }
        Ok(Err(err)) => unavailable(&err),
        Err(err) => {
            tracing::error!(error = %err, "a command ended abnormally");
            let msg =
                "the command ended abnormally on this node; see its log. Repeat it to find out what was done"
                    .to_owned();
            HttpResponse::GatewayTimeout().json(PlainResponse { result: false, msg })
        }
    }
}

/// 503 when nothing was changed, 504 when that is not known.
fn unavailable(err: &RaftNodeError) -> HttpResponse {
    let status = match err {
        RaftNodeError::Unknown { .. } | RaftNodeError::Stopped(_) => StatusCode::GATEWAY_TIMEOUT,
        RaftNodeError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    HttpResponse::build(status)
        .json(PlainResponse { result: false, msg: format!("[code={}] {err}", err.code()) })
}

macro_rules! read {
    ($name:ident, $request:ty) => {
        async fn $name(control: Data<Control>, body: Json<$request>) -> HttpResponse {
            let inner = Arc::clone(&control);
            run(&control, async move { inner.$name(&body).await }).await
        }
    };
}

macro_rules! change {
    ($name:ident, $request:ty) => {
        async fn $name(control: Data<Control>, http: HttpRequest, body: Json<$request>) -> HttpResponse {
            let id = match request_id(&http) {
                Ok(id) => id,
                Err(response) => return *response,
            };
            let inner = Arc::clone(&control);
            run(&control, async move { inner.$name(&id, &body).await }).await
        }
    };
}

change!(start_task, StartTaskRequest);
change!(update_task, UpdateTaskRequest);
read!(list_created, ListCreatedRequest);
change!(operate_task, OperateTaskRequest);
change!(operate_table, OperateTableRequest);
change!(handle_error, HandleErrorRequest);
change!(operate_source, OperateSourceRequest);
change!(transfer_source, TransferSourceRequest);
change!(binlog_schema, BinlogSchemaRequest);
read!(query_status, QueryStatusRequest);
read!(check_task, CheckTaskRequest);
read!(list_member, ListMemberRequest);
read!(get_config, GetConfigRequest);

async fn encrypt(control: Data<Control>, body: Json<EncryptRequest>) -> HttpResponse {
    HttpResponse::Ok().json(control.encrypt(&body))
}

async fn decrypt(control: Data<Control>, body: Json<DecryptRequest>) -> HttpResponse {
    HttpResponse::Ok().json(control.decrypt(&body))
}

async fn diff(control: Data<Control>, body: Json<DiffRequest>) -> HttpResponse {
    match Arc::clone(&control).diff(body.into_inner()).await {
        Ok((lines, index)) => HttpResponse::Ok()
            .insert_header((LOG_INDEX_HEADER, index.to_string()))
            .content_type("application/x-ndjson")
            .streaming(lines),
        Err(err) => unavailable(&err),
    }
}
