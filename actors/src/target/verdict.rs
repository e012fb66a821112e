//! What a failed statement in the target means. The one place where that is decided.

use dmnode_mysql::SqlError;

/// What to do after an error of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection is gone; a new one may do better, and what the last command did must be found out.
    Lost,
    /// Others were in the way; the same transaction is tried again at once.
    Conflict,
    /// The server cannot work at the moment; the unit is started again later, by itself.
    Later,
    /// The statement is refused, and will be again; somebody has to look.
    Refused,
}

/// Deadlock and lock time-out; MariaDB's "record has changed since last read" (1020); a certification conflict of a
/// group (3101) or of TiDB's optimistic transactions and stores (8002, 8005, 8022, 8027, 8028, 8245, 9001 and so on),
/// which DM repeats as well; a definition that changed between two statements (1412, 1615).
const CONFLICTS: [u16; 16] =
    [1020, 1205, 1213, 1412, 1615, 3101, 8002, 8005, 8022, 8027, 8028, 8245, 9001, 9003, 9004, 9007];

/// Conditions of the server that pass: no space (1021, 1114, 3675), no memory (1037, 1038, 1041, 1135), too many
/// connections (1040, 1203, 1226), not ready as a cluster member (1047 with Galera), lock table full (1206), an
/// error during COMMIT of a cluster (1180), read-only (1290, 1792, 1836), a statement killed or timed out (1317,
/// 1907, 1969, 3024), log full or being rotated (1026, 1197), a cluster's back-pressure (8229), offline (3032), the
/// engine's file system errors (1030 with "No space").
const LATER: [u16; 22] = [
    1021, 1026, 1037, 1038, 1040, 1041, 1047, 1114, 1135, 1180, 1203, 1206, 1226, 1290, 1317, 1792, 1836,
    1907, 1969, 3024, 3032, 3675,
];

/// Judges an error.
pub fn judge(error: &SqlError) -> Verdict {
    if error.is_connection_lost() {
        return Verdict::Lost;
    }
    match error.code() {
        Some(code) if CONFLICTS.contains(&code) => Verdict::Conflict,
        Some(code) if LATER.contains(&code) => Verdict::Later,
        // TiDB's words for a definition that is being changed.
        Some(1105)
            if error.message.contains("Information schema is")
                || error.message.contains("try again later") =>
        {
            Verdict::Conflict
        }
        Some(1030) if error.message.contains("space") => Verdict::Later,
        _ => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_verdict() {
        let of = |code: u16| judge(&SqlError::server(code, "HY000", "x"));
        for code in [1213, 1205, 1020, 3101, 9007] {
            assert_eq!(of(code), Verdict::Conflict, "{code}");
        }
        for code in [1290, 1836, 1021, 1040, 1317] {
            assert_eq!(of(code), Verdict::Later, "{code}");
        }
        for code in [1062, 1406, 1366, 1146, 1054, 1452, 1142, 1264, 4025] {
            assert_eq!(of(code), Verdict::Refused, "{code}");
        }
        for code in [1053, 1927, 4031] {
            assert_eq!(of(code), Verdict::Lost, "{code}");
        }
        assert_eq!(judge(&SqlError::connection_lost("x")), Verdict::Lost);
        assert_eq!(judge(&SqlError::timeout("x")), Verdict::Lost);
        assert_eq!(
            judge(&SqlError::server(1105, "HY000", "Information schema is changed")),
            Verdict::Conflict
        );
        assert_eq!(judge(&SqlError::server(1105, "HY000", "something else")), Verdict::Refused);
    }
}
