//! Settings of the source that replication depends on.

use dmnode_model::{CodedError, Scope, codes};

use super::connect::{failed, is_denied, limited};
use super::probe::{flavor_differs, gtid_is_off};
use super::{Item, Source};

pub(super) async fn version(source: &Source<'_>) -> Option<Item> {
    let item = Item::new("mysql_version", "check whether mysql version is satisfied").at(&source.address());
    let oldest = if source.info.is_mariadb() { (10, 3, 0) } else { (5, 7, 0) };
    Some(if source.info.version < oldest {
        item.warn(
            format!("version {} is older than any that is tested", source.info.version_string),
            "use MySQL 5.7 or MariaDB 10.3 or newer",
        )
    } else {
        item
    })
}

/// Positions, GTIDs and events are read by the flavour that the configuration names.
pub(super) async fn flavor(source: &Source<'_>) -> Option<Item> {
    let item = Item::new("mysql_flavor", "check whether flavor fits the server").at(&source.address());
    Some(match flavor_differs(source.config, &source.info) {
        Some(err) => item.fail(err),
        None => item,
    })
}

/// Without an id a server does not log for replicas.
pub(super) async fn server_id(source: &Source<'_>) -> Option<Item> {
    let item = Item::new("mysql_server_id", "check whether mysql server_id has been greater than 0")
        .at(&source.address());
    Some(if source.info.server_id == 0 {
        item.warn("server_id is 0", "set server_id on the source to a number that no other server has")
    } else if source.config.server_id == source.info.server_id {
        item.fail(
            CodedError::new(
                codes::INVALID_SERVER_ID,
                format!("invalid server id {}: it is the id of the source itself", source.config.server_id),
            )
            .scope(Scope::Upstream),
        )
    } else {
        item
    })
}

pub(super) async fn binlog_enable(source: &Source<'_>) -> Option<Item> {
    let item =
        Item::new("mysql_binlog_enable", "check whether mysql binlog is enabled").at(&source.address());
    Some(if source.info.log_bin {
        item
    } else {
        item.fail(
            CodedError::new(codes::CHECK_BINLOG_OFF, "log_bin is OFF, and should be ON")
                .scope(Scope::Upstream)
                .remedy("start the source with log_bin (and a server_id); the setting needs a restart"),
        )
    })
}

/// Statements would have to be run again, with other results.
pub(super) async fn binlog_format(source: &Source<'_>) -> Option<Item> {
    let item =
        Item::new("mysql_binlog_format", "check whether mysql binlog_format is ROW").at(&source.address());
    let format = &source.info.binlog_format;
    Some(if format.eq_ignore_ascii_case("ROW") {
        item
    } else {
        let message = format!("binlog_format is {format}, and should be ROW");
        item.fail(CodedError::new(codes::CHECK_BINLOG_FORMAT, message).scope(Scope::Upstream))
    })
}

/// A row is found and rewritten by its whole image.
pub(super) async fn binlog_row_image(source: &Source<'_>) -> Option<Item> {
    let item = Item::new("mysql_binlog_row_image", "check whether mysql binlog_row_image is FULL")
        .at(&source.address());
    let image = &source.info.binlog_row_image;
    Some(if image.is_empty() || image.eq_ignore_ascii_case("FULL") {
        item
    } else {
        let message = format!("binlog_row_image is {image}, and should be FULL");
        item.fail(CodedError::new(codes::CHECK_ROW_IMAGE, message).scope(Scope::Upstream))
    })
}

pub(super) async fn gtid_mode(source: &Source<'_>) -> Option<Item> {
    let item = Item::new("mysql_gtid_mode", "check whether the source writes GTIDs where they are asked for");
    let item = item.at(&source.address());
    Some(if source.config.enable_gtid && !source.info.has_gtids() {
        item.fail(gtid_is_off(source.config, &source.info))
    } else {
        item
    })
}

/// A source may leave databases out of its binlog; then their changes never arrive.
pub(super) async fn binlog_db(source: &mut Source<'_>) -> Option<Item> {
    let item = Item::new(
        "binlog_do_db/binlog_ignore_db check",
        "check whether binlog_do_db/binlog_ignore_db leave out databases of the task",
    )
    .at(&source.address());
    let sql = if !source.info.is_mariadb() && source.info.version >= (8, 2, 0) {
        "SHOW BINARY LOG STATUS"
    } else {
        "SHOW MASTER STATUS"
    };
    let row = match limited(source.connection.query_one(sql)).await {
        Ok(row) => row?,
        // Told by the check of privileges.
        Err(err) if is_denied(&err) => return Some(item),
        Err(err) => return Some(item.fail(failed(&err, Scope::Upstream))),
    };
    let list = |column: usize| -> Vec<String> {
        let text = row.string(column).unwrap_or_default();
        text.split(',').map(|db| db.trim().to_owned()).filter(|db| !db.is_empty()).collect()
    };
    let (only, ignored) = (list(2), list(3));
    let has = |list: &[String], db: &str| {
        list.iter().any(|d| if source.subtask.case_sensitive { d == db } else { d.eq_ignore_ascii_case(db) })
    };
    let left_out = |db: &&String| if only.is_empty() { has(&ignored, db) } else { !has(&only, db) };
    let missing: Vec<&str> = source.inventory.schemas.iter().filter(left_out).map(String::as_str).collect();
    Some(if missing.is_empty() {
        item
    } else {
        item.fail(
            CodedError::new(
                codes::CHECK_BINLOG_OFF,
                format!("these databases are not written to the binlog: {}", missing.join(", ")),
            )
            .scope(Scope::Upstream)
            .remedy(
                "remove binlog-do-db and binlog-ignore-db from the source's configuration and restart it",
            ),
        )
    })
}
