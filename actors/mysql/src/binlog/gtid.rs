//! GTID events of both flavours, and GTID sets in the binary form of the binlog protocol.

use dmnode_model::{Gtid, GtidSet, Interval, MariadbGtidSet, MysqlGtidSet};

use super::{
    cursor::{Cursor, Malformed, Parsed},
    event::GtidEvent,
};

/// Typecode of the logical clock in a GTID event; absent in MySQL 5.6.
const LOGICAL_CLOCK: u8 = 2;
/// Serialization version of a tagged GTID event.
const TAGGED_VERSION: u8 = 2;
/// MariaDB: the group is one statement without BEGIN and COMMIT.
const MARIADB_STANDALONE: u8 = 1;
/// MariaDB: the group ends with XA PREPARE.
const MARIADB_PREPARED_XA: u8 = 0x40;
/// MariaDB: the group decides what was prepared by XA.
const MARIADB_COMPLETED_XA: u8 = 0x80;
/// MariaDB: the number of a group commit follows.
const MARIADB_GROUP_COMMIT: u8 = 0x02;
/// MariaDB, extra flags: an ALTER has begun (`binlog_alter_two_phase`).
const MARIADB_START_ALTER: u8 = 0x02;
/// MariaDB, extra flags: an ALTER that had begun was given up.
const MARIADB_ROLLBACK_ALTER: u8 = 0x08;
/// Format number of a GTID set with tags.
const FORMAT_TAGGED: u64 = 1;

/// A GTID or anonymous GTID event of MySQL. The identity of an anonymous one has number 0.
pub(super) fn parse_mysql(body: &[u8]) -> Parsed<GtidEvent> {
    let mut cursor = Cursor::new(body);
    let _flags = cursor.u8()?;
    let mut sid = [0; 16];
    sid.copy_from_slice(cursor.take(16)?);
    let gno = cursor.u64()?;
    let mut event = GtidEvent {
        gtid: Gtid::Mysql { sid, tag: String::new(), gno },
        standalone: false,
        xa: false,
        void: false,
        original_commit_timestamp: None,
        immediate_commit_timestamp: None,
        transaction_length: None,
    };
    // The rest grew over the versions; each part is there or not.
    if cursor.is_empty() || cursor.u8()? != LOGICAL_CLOCK {
        return Ok(event);
    }
    cursor.take(16)?;
    if cursor.remaining() >= 7 {
        let immediate = cursor.uint(7)?;
        let (immediate, original) = if immediate & (1 << 55) != 0 {
            (immediate & !(1 << 55), cursor.uint(7)?)
        } else {
            (immediate, immediate)
        };
        event.immediate_commit_timestamp = Some(immediate);
        event.original_commit_timestamp = Some(original);
    }
    if !cursor.is_empty() {
        event.transaction_length = Some(cursor.lenenc()?);
    }
    Ok(event)
}

/// A tagged GTID event of MySQL 8.3 and later: numbered fields in the server's own serialization format.
pub(super) fn parse_tagged(body: &[u8]) -> Parsed<GtidEvent> {
    let mut cursor = Cursor::new(body);
    let version = cursor.u8()?;
    if version != TAGGED_VERSION {
        return Err(Malformed::new(format!("tagged GTID in serialization version {version}")));
    }
    varlen(&mut cursor)?;
    varlen(&mut cursor)?;
    let (mut sid, mut tag, mut gno) = (None, String::new(), None);
    let (mut immediate, mut original, mut length) = (None, None, None);
    while !cursor.is_empty() {
        match varlen(&mut cursor)? {
            0 | 4 | 5 => {
                varlen(&mut cursor)?;
            }
            1 => {
                let mut bytes = [0; 16];
                for byte in &mut bytes {
                    let value = varlen(&mut cursor)?;
                    *byte = u8::try_from(value).map_err(|_| Malformed::new("byte of a UUID"))?;
                }
                sid = Some(bytes);
            }
            // The number is signed in the format; bit 0 is the sign.
            2 => match varlen(&mut cursor)? {
                number if number & 1 == 0 => gno = Some(number >> 1),
                _ => return Err(Malformed::new("negative transaction number")),
            },
            3 => {
                let len = varlen(&mut cursor)?;
                tag = read_tag(&mut cursor, len)?;
            }
            6 => immediate = Some(varlen(&mut cursor)?),
            7 => original = Some(varlen(&mut cursor)?),
            8 => length = Some(varlen(&mut cursor)?),
            // Server versions and commit tickets follow; fields are in order, so nothing needed is missed.
            _ => break,
        }
    }
    let (Some(sid), Some(gno)) = (sid, gno) else {
        return Err(Malformed::new("tagged GTID without UUID or number"));
    };
    Ok(GtidEvent {
        gtid: Gtid::Mysql { sid, tag, gno },
        standalone: false,
        xa: false,
        void: false,
        original_commit_timestamp: original.or(immediate),
        immediate_commit_timestamp: immediate,
        transaction_length: length,
    })
}

/// A GTID event of MariaDB; the server id is the header's.
pub(super) fn parse_mariadb(body: &[u8], server_id: u32) -> Parsed<GtidEvent> {
    let mut cursor = Cursor::new(body);
    let sequence = cursor.u64()?;
    let domain = cursor.u32()?;
    let flags = cursor.u8()?;
    if flags & MARIADB_GROUP_COMMIT != 0 {
        cursor.take(8)?;
    }
    if flags & (MARIADB_PREPARED_XA | MARIADB_COMPLETED_XA) != 0 {
        cursor.take(4)?;
        let len = usize::from(cursor.u8()?) + usize::from(cursor.u8()?);
        cursor.take(len)?;
    }
    // Filled up with zeros to at least 19 bytes.
    let extra = if cursor.is_empty() { 0 } else { cursor.u8()? };
    Ok(GtidEvent {
        gtid: Gtid::Mariadb { domain, server_id, sequence },
        standalone: flags & MARIADB_STANDALONE != 0,
        xa: flags & MARIADB_PREPARED_XA != 0,
        void: extra & (MARIADB_START_ALTER | MARIADB_ROLLBACK_ALTER) != 0,
        original_commit_timestamp: None,
        immediate_commit_timestamp: None,
        transaction_length: None,
    })
}

/// MariaDB's list of the last GTID per domain and server at the start of a file. Of several servers in one
/// domain the last entry is the most recent.
pub(super) fn parse_mariadb_list(body: &[u8]) -> Parsed<GtidSet> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u32()? & 0x0fff_ffff;
    let mut set = MariadbGtidSet::default();
    for _ in 0..count {
        let domain = cursor.u32()?;
        let server_id = cursor.u32()?;
        set.set_last(domain, server_id, cursor.u64()?);
    }
    Ok(GtidSet::Mariadb(set))
}

/// MySQL's set in the form of PREVIOUS_GTIDS and COM_BINLOG_DUMP_GTID.
pub(super) fn decode_set(body: &[u8]) -> Parsed<GtidSet> {
    let mut cursor = Cursor::new(body);
    let head = cursor.u64()?;
    let tagged = head >> 56 == FORMAT_TAGGED;
    let count = if tagged { (head << 8) >> 16 } else { head & 0x00ff_ffff_ffff_ffff };
    let mut set = MysqlGtidSet::default();
    for _ in 0..count {
        let mut sid = [0; 16];
        sid.copy_from_slice(cursor.take(16)?);
        let tag = if tagged {
            let len = varlen(&mut cursor)?;
            read_tag(&mut cursor, len)?
        } else {
            String::new()
        };
        let intervals = cursor.u64()?;
        for _ in 0..intervals {
            let start = cursor.u64()?;
            // The end is not included on the wire.
            let end = cursor.u64()?.wrapping_sub(1);
            set.insert_interval(sid, &tag, Interval { start, end })
                .map_err(|error| Malformed::new(error.to_string()))?;
        }
    }
    Ok(GtidSet::Mysql(set))
}

/// The inverse of [`decode_set`]. The form with tags is used only when there are tags: older servers know the
/// other one only.
pub(super) fn encode_set(set: &MysqlGtidSet) -> Vec<u8> {
    let tagged = set.has_tags();
    let count = set.iter().count() as u64;
    let mut out = Vec::new();
    let head = if tagged { FORMAT_TAGGED << 56 | count << 8 | FORMAT_TAGGED } else { count };
    out.extend_from_slice(&head.to_le_bytes());
    for (sid, tag, intervals) in set.iter() {
        out.extend_from_slice(sid);
        if tagged {
            // A tag has at most 32 characters, so its length is one byte in the server's format.
            out.push((tag.len() as u8) << 1);
            out.extend_from_slice(tag.as_bytes());
        }
        out.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
        for interval in intervals {
            out.extend_from_slice(&interval.start.to_le_bytes());
            out.extend_from_slice(&(interval.end + 1).to_le_bytes());
        }
    }
    out
}

fn read_tag(cursor: &mut Cursor<'_>, len: u64) -> Parsed<String> {
    let len = usize::try_from(len).map_err(|_| Malformed::new(format!("tag of {len} bytes")))?;
    if len > dmnode_model::gtid::TAG_LENGTH_MAX {
        return Err(Malformed::new(format!("tag of {len} bytes")));
    }
    let tag = std::str::from_utf8(cursor.take(len)?).map_err(|_| Malformed::new("tag is not UTF-8"))?;
    Ok(tag.to_owned())
}

/// An unsigned integer of MySQL's serialization library: the ones at the low end of the first byte count the
/// bytes that follow it.
fn varlen(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    let first = cursor.u8()?;
    let more = first.trailing_ones() as usize;
    if more == 8 {
        return cursor.u64();
    }
    let rest = cursor.uint(more)?;
    let value = u64::from(first) | rest.checked_shl(8).unwrap_or(0);
    Ok(if more == 7 { rest } else { value >> (more + 1) })
}

#[cfg(test)]
mod tests {
    use dmnode_model::Flavor;

    use super::*;

    #[test]
    fn sets_survive_the_wire() {
        for text in [
            "",
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7-9223372036854775806",
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:domain_a:1:3-9,4e11fa47-71ca-11e1-9e33-c80aa9429562:b:2",
        ] {
            let set = GtidSet::parse(Flavor::Mysql, text).unwrap();
            let GtidSet::Mysql(mysql) = &set else { panic!("flavor") };
            let wire = encode_set(mysql);
            assert_eq!(decode_set(&wire).unwrap(), set, "{text}");
            for cut in 0..wire.len() {
                assert!(decode_set(&wire[..cut]).is_err(), "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn only_the_end_of_an_alter_in_two_phases_counts() {
        let event = |extra: &[u8]| {
            let mut body = vec![18, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x29];
            body.extend(extra);
            body.resize(body.len().max(19), 0);
            parse_mariadb(&body, 8).unwrap()
        };
        assert_eq!(event(&[]).gtid.to_string(), "7-8-18");
        assert!(event(&[]).standalone && !event(&[]).void && !event(&[]).xa);
        assert!(event(&[2]).void, "START ALTER");
        assert!(!event(&[4, 18, 0, 0, 0, 0, 0, 0, 0]).void, "COMMIT ALTER");
        assert!(event(&[8, 18, 0, 0, 0, 0, 0, 0, 0]).void, "ROLLBACK ALTER");
        // Prepared by XA, with the number of a group commit and an XID before the extra flags.
        let mut body = vec![18, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x42];
        body.extend([1; 8]);
        body.extend([7, 0, 0, 0, 2, 1, b'g', b'1', b'b', 0]);
        let event = parse_mariadb(&body, 8).unwrap();
        assert!(event.xa && !event.void);
    }

    #[test]
    fn variable_length_integers_of_each_length() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            1 << 20,
            1 << 27,
            (1 << 35) + 5,
            1 << 48,
            (1 << 55) + 1,
            u64::MAX,
        ] {
            let bits = 64 - u64::leading_zeros(value).min(63);
            let len = usize::try_from(bits.div_ceil(7)).unwrap();
            let wire: Vec<u8> = if len > 8 {
                [&[0xff][..], &value.to_le_bytes()].concat()
            } else {
                let shifted = u128::from(value) << len | ((1 << (len - 1)) - 1);
                shifted.to_le_bytes()[..len].to_vec()
            };
            let mut cursor = Cursor::new(&wire);
            assert_eq!(varlen(&mut cursor).unwrap(), value, "{wire:02x?}");
            assert!(cursor.is_empty());
        }
    }
}
