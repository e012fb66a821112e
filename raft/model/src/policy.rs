//! What happens after an error: try again, wait for somebody, give up. Decided here and nowhere else.
//!
//! Two steps. A server's error number is judged by [`fault`]: is the connection gone, did two transactions get in each
//! other's way, is the server in a state that passes, or did it refuse what it was asked? Who raises the error takes its
//! code from [`code`] unless it was a refusal, which has a code of its own (what was refused?). The supervisor then goes by
//! [`decide`], which knows codes only.
//!
//! Lists are narrow on purpose: what is on none of them is a refusal and waits for the operator.

use crate::codes::{self, Policy};

/// How a statement or a connection failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The connection is at its end; a new one may do better. What the last statement did is not known.
    ConnectionGone,
    /// The transaction met another one; repeated, it may get through.
    Conflict,
    /// The server is in a state that passes or that somebody ends there: full, read-only, too many connections.
    Passing,
    /// The server does not want this statement; repeated, it would not want it again.
    Refused,
}

/// Whose server it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The source.
    Source,
    /// The target.
    Target,
}

/// After so many equal failures without a healthy time between, an error that is a defect of ours stops the subtask.
pub const DEFECT_ATTEMPTS_MAX: u32 = 30;

/// Judges an error number of MySQL, MariaDB or TiDB. The message only decides where one number has several meanings.
pub fn fault(number: u16, message: &str) -> Fault {
    let says = |part: &str| message.to_ascii_lowercase().contains(part);
    match number {
        // Shutdown; aborted, damaged or timed-out connections; killed (1927: MariaDB's KILL, 4031: idle too long).
        1053 | 1077 | 1079 | 1152 | 1153 | 1156..=1161 | 1184 | 1927 | 3169 | 4031 => Fault::ConnectionGone,
        // Deadlock, lock wait time-out (which did not roll back), MariaDB's "record has changed since last read",
        // XA deadlock, rolled back by group replication's certification.
        1205 | 1213 | 1020 | 1614 | 3101 => Fault::Conflict,
        // A definition that changed between two statements.
        1412 | 1615 => Fault::Conflict,
        // TiDB: write conflicts, retriable commits, schema changes in between, stores that time out. DM repeats them too.
        8002 | 8005 | 8022 | 8027 | 8028 | 8245 | 9001 | 9003 | 9004 | 9007 => Fault::Conflict,
        1105 if says("information schema is") || says("try again later") => Fault::Conflict,
        // Connections, threads and limits of the account.
        1040 | 1129 | 1135 | 1203 | 1226 => Fault::Passing,
        // Memory, space, lock table, undo slots.
        1021 | 1026 | 1037 | 1038 | 1041 | 1114 | 1206 | 1637 | 3675 => Fault::Passing,
        3 | 1030 if says("no space left") || says("error 28") || says("errno: 28") => Fault::Passing,
        // Interrupted by somebody or by a time limit.
        1028 | 1317 | 1907 | 1969 | 3024 => Fault::Passing,
        // Read-only, offline, or a cluster that is not ready: during a failover, until the address leads elsewhere.
        1290 if says("read-only") || says("read_only") => Fault::Passing,
        1207 | 1792 | 1836 | 3032 | 3100 | 3168 => Fault::Passing,
        1047 if says("wsrep") => Fault::Passing,
        // Storage engines' own temporary errors; MariaDB Galera's failure at COMMIT.
        1180 | 1297 => Fault::Passing,
        // TiDB: a region moves, a transaction lived too long, a store is not ready.
        8229 | 9002 | 9005 | 9006 | 9010 => Fault::Passing,
        _ => Fault::Refused,
    }
}

/// The code of a fault that is not about the statement; none for a refusal, whose code says what was refused.
pub fn code(side: Side, fault: Fault) -> Option<u32> {
    match (side, fault) {
        (Side::Source, Fault::ConnectionGone) => Some(codes::SOURCE_CONNECTION),
        (Side::Target, Fault::ConnectionGone) => Some(codes::TARGET_CONNECTION),
        (Side::Source, Fault::Conflict | Fault::Passing) => Some(codes::SOURCE_BUSY),
        (Side::Target, Fault::Conflict | Fault::Passing) => Some(codes::TARGET_NOT_READY),
        (_, Fault::Refused) => None,
    }
}

/// What the supervisor does with a unit that failed with this code, `equal_failures` times in a row so far.
///
/// Troubles of servers and networks are retried for ever, since they end some day. What is a defect of ours and comes
/// back every time is not.
pub fn decide(code: u32, equal_failures: u32) -> Policy {
    match codes::policy(code) {
        Policy::Retry if is_defect(code) && equal_failures >= DEFECT_ATTEMPTS_MAX => Policy::WaitForOperator,
        policy => policy,
    }
}

/// The unit was asked to end or has a successor: no failure, and started again even where retries are switched off.
pub fn is_handover(code: u32) -> bool {
    matches!(code, codes::FENCED | codes::UNIT_CANCELLED)
}

fn is_defect(code: u32) -> bool {
    matches!(code, codes::INTERNAL | codes::UNIT_PANICKED | codes::UNIT_HUNG | codes::SYNCER_UNIT_PANIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number of the manuals that a migration can meet, with what the server says to it.
    const NUMBERS: &[(u16, &str, Fault)] = &[
        (3, "Error writing file './t.ibd' (OS errno 28 - No space left on device)", Fault::Passing),
        (3, "Error writing file './t.ibd' (OS errno 5 - Input/output error)", Fault::Refused),
        (1005, "Can't create table", Fault::Refused),
        (1007, "Can't create database; database exists", Fault::Refused),
        (1008, "Can't drop database; database doesn't exist", Fault::Refused),
        (1020, "Record has changed since last read in table 't'", Fault::Conflict),
        (1021, "Disk full", Fault::Passing),
        (1028, "Sort aborted", Fault::Passing),
        (1030, "Got error 28 from storage engine", Fault::Passing),
        (1030, "Got error 168 - 'Unknown (generic) error from engine' from storage engine", Fault::Refused),
        (1037, "Out of memory; restart server and try again", Fault::Passing),
        (1040, "Too many connections", Fault::Passing),
        (1044, "Access denied for user to database", Fault::Refused),
        (1045, "Access denied for user", Fault::Refused),
        (1047, "WSREP has not yet prepared node for application use", Fault::Passing),
        (1047, "Unknown command", Fault::Refused),
        (1048, "Column 'a' cannot be null", Fault::Refused),
        (1049, "Unknown database", Fault::Refused),
        (1050, "Table already exists", Fault::Refused),
        (1051, "Unknown table", Fault::Refused),
        (1053, "Server shutdown in progress", Fault::ConnectionGone),
        (1054, "Unknown column", Fault::Refused),
        (1060, "Duplicate column name", Fault::Refused),
        (1061, "Duplicate key name", Fault::Refused),
        (1062, "Duplicate entry", Fault::Refused),
        (1064, "You have an error in your SQL syntax", Fault::Refused),
        (1077, "Normal shutdown", Fault::ConnectionGone),
        (1091, "Can't DROP; check that column/key exists", Fault::Refused),
        (1105, "Information schema is out of date", Fault::Conflict),
        (1105, "unknown error", Fault::Refused),
        (1114, "The table is full", Fault::Passing),
        (1129, "Host is blocked because of many connection errors", Fault::Passing),
        (1130, "Host is not allowed to connect to this server", Fault::Refused),
        (1135, "Can't create a new thread", Fault::Passing),
        (1142, "INSERT command denied", Fault::Refused),
        (1146, "Table doesn't exist", Fault::Refused),
        (1152, "Aborted connection", Fault::ConnectionGone),
        (1158, "Got an error reading communication packets", Fault::ConnectionGone),
        (1161, "Got timeout writing communication packets", Fault::ConnectionGone),
        (1180, "Got error 35 \"Resource temporarily unavailable\" during COMMIT", Fault::Passing),
        (1203, "User already has more than 'max_user_connections' active connections", Fault::Passing),
        (1205, "Lock wait timeout exceeded; try restarting transaction", Fault::Conflict),
        (1206, "The total number of locks exceeds the lock table size", Fault::Passing),
        (1213, "Deadlock found when trying to get lock", Fault::Conflict),
        (1226, "User has exceeded the 'max_connections_per_hour' resource", Fault::Passing),
        (1227, "Access denied; you need the SUPER privilege", Fault::Refused),
        (1236, "Could not find first log file name in binary log index file", Fault::Refused),
        (1264, "Out of range value", Fault::Refused),
        (1290, "The MySQL server is running with the --super-read-only option", Fault::Passing),
        (1290, "The MariaDB server is running with the --read-only option", Fault::Passing),
        (1290, "The MySQL server is running with the --secure-file-priv option", Fault::Refused),
        (1292, "Incorrect datetime value", Fault::Refused),
        (1317, "Query execution was interrupted", Fault::Passing),
        (1364, "Field doesn't have a default value", Fault::Refused),
        (1366, "Incorrect string value", Fault::Refused),
        (1406, "Data too long for column", Fault::Refused),
        (1419, "You do not have the SUPER privilege and binary logging is enabled", Fault::Refused),
        (1412, "Table definition has changed, please retry transaction", Fault::Conflict),
        (1451, "Cannot delete or update a parent row", Fault::Refused),
        (1452, "Cannot add or update a child row", Fault::Refused),
        (1526, "Table has no partition for value", Fault::Refused),
        (1614, "XA_RBDEADLOCK", Fault::Conflict),
        (1644, "signalled by a trigger", Fault::Refused),
        (1690, "BIGINT UNSIGNED value is out of range", Fault::Refused),
        (1789, "the source has purged required GTIDs", Fault::Refused),
        (1792, "Cannot execute statement in a READ ONLY transaction", Fault::Passing),
        (1820, "You must reset your password", Fault::Refused),
        (1836, "Running in read-only mode", Fault::Passing),
        (1862, "Your password has expired", Fault::Refused),
        (1927, "Connection was killed", Fault::ConnectionGone),
        (1950, "connect with a GTID position that is not in the binlog", Fault::Refused),
        (
            1955,
            "Connecting slave requested to start from GTID, which is not in the master's binlog",
            Fault::Refused,
        ),
        (1969, "Query execution was interrupted (max_statement_time exceeded)", Fault::Passing),
        (3024, "maximum statement execution time exceeded", Fault::Passing),
        (3032, "The server is currently in offline mode", Fault::Passing),
        (3098, "The table does not comply with the requirements by an external plugin", Fault::Refused),
        (3100, "Error on observer while running replication hook 'before_commit'", Fault::Passing),
        (3101, "Plugin instructed the server to rollback the current transaction", Fault::Conflict),
        (3118, "Account is locked", Fault::Refused),
        (3169, "Session was killed", Fault::ConnectionGone),
        (3819, "Check constraint is violated", Fault::Refused),
        (3955, "Access denied; account is blocked for days due to consecutive failed logins", Fault::Refused),
        (4025, "CONSTRAINT failed", Fault::Refused),
        (4031, "The client was disconnected by the server because of inactivity", Fault::ConnectionGone),
        (8004, "Transaction is too large", Fault::Refused),
        (8022, "KV error safe to retry", Fault::Conflict),
        (8025, "entry too large", Fault::Refused),
        (8028, "Information schema is changed", Fault::Conflict),
        (9001, "PD server timeout", Fault::Conflict),
        (9003, "TiKV server is busy", Fault::Conflict),
        (9005, "Region is unavailable", Fault::Passing),
        (9007, "Write conflict", Fault::Conflict),
    ];

    #[test]
    fn every_number_that_matters_is_judged() {
        for (number, message, expected) in NUMBERS {
            assert_eq!(fault(*number, message), *expected, "{number}: {message}");
        }
        // A wrong password is never tried again: accounts get locked that way.
        assert_eq!(fault(1045, ""), Fault::Refused);
    }

    #[test]
    fn a_fault_of_a_server_has_a_code_that_is_retried_and_a_refusal_has_none() {
        for side in [Side::Source, Side::Target] {
            for (number, message, expected) in NUMBERS {
                match code(side, fault(*number, message)) {
                    Some(code) => assert_eq!(decide(code, 1000), Policy::Retry, "{number}"),
                    None => assert_eq!(*expected, Fault::Refused, "{number}"),
                }
            }
        }
    }

    #[test]
    fn what_waits_for_the_operator_is_never_retried() {
        // DM's list of what is never resumed, and ours of what somebody must correct.
        for code in [
            32001, 32004, 36027, 11126, 11054, 60202, 60206, 60207, 60208, 60209, 60210, 60212, 60213, 60215,
            60216, 60312, 60317,
        ] {
            assert_eq!(decide(code, 0), Policy::WaitForOperator, "{code}");
        }
        assert_eq!(decide(1, 0), Policy::WaitForOperator, "unknown ones wait");
    }

    #[test]
    fn a_defect_that_comes_back_every_time_stops() {
        for code in [codes::UNIT_PANICKED, codes::UNIT_HUNG, codes::INTERNAL, codes::SYNCER_UNIT_PANIC] {
            assert_eq!(decide(code, DEFECT_ATTEMPTS_MAX - 1), Policy::Retry);
            assert_eq!(decide(code, DEFECT_ATTEMPTS_MAX), Policy::WaitForOperator);
        }
        assert_eq!(decide(codes::TARGET_CONNECTION, u32::MAX), Policy::Retry);
        assert!(is_handover(codes::FENCED) && !is_handover(codes::TARGET_CONNECTION));
    }
}
