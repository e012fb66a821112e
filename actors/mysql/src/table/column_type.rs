//! Column types, parsed from the server's `COLUMN_TYPE` text.

/// A column's type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the variants are SQL's own type names
pub enum ColumnType {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Float,
    Double,
    /// BIT of so many bits.
    Bit(u8),
    Year,
    Date,
    /// Fraction digits.
    Time(u8),
    /// Fraction digits.
    DateTime(u8),
    /// Fraction digits.
    Timestamp(u8),
    /// Length in characters.
    Char(u32),
    /// Length in characters.
    VarChar(u32),
    /// Length in bytes.
    Binary(u32),
    /// Length in bytes.
    VarBinary(u32),
    TinyText,
    Text,
    MediumText,
    LongText,
    TinyBlob,
    Blob,
    MediumBlob,
    LongBlob,
    /// The members in order.
    Enum(Vec<String>),
    /// The members in order.
    Set(Vec<String>),
    /// JSON of MySQL, stored in binary form (MariaDB's JSON is LONGTEXT).
    Json,
    Geometry(GeometryKind),
    /// VECTOR of so many dimensions.
    Vector(u32),
    /// MariaDB.
    Inet4,
    /// MariaDB.
    Inet6,
    /// MariaDB.
    Uuid,
    /// Anything else, e.g. a plugin's type, by its name.
    Other(String),
}

/// Which geometry a spatial column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GeometryKind {
    Any,
    Point,
    LineString,
    Polygon,
    MultiPoint,
    MultiLineString,
    MultiPolygon,
    Collection,
}

impl ColumnType {
    /// Parses the server's words, e.g. `decimal(10,2) unsigned`. What is not known becomes [`ColumnType::Other`].
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let word = word.to_ascii_lowercase();
        let numbers = numbers_of(rest);
        let first = numbers.first().copied();
        let fsp = || first.and_then(|n| u8::try_from(n).ok()).unwrap_or(0).min(6);
        match word.as_str() {
            "tinyint" | "bool" | "boolean" => Self::TinyInt,
            "smallint" => Self::SmallInt,
            "mediumint" => Self::MediumInt,
            "int" | "integer" => Self::Int,
            "bigint" => Self::BigInt,
            "decimal" | "numeric" => Self::Decimal {
                precision: first.and_then(|n| u8::try_from(n).ok()).unwrap_or(10),
                scale: numbers.get(1).and_then(|n| u8::try_from(*n).ok()).unwrap_or(0),
            },
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "bit" => Self::Bit(first.and_then(|n| u8::try_from(n).ok()).unwrap_or(1)),
            "year" => Self::Year,
            "date" => Self::Date,
            "time" => Self::Time(fsp()),
            "datetime" => Self::DateTime(fsp()),
            "timestamp" => Self::Timestamp(fsp()),
            "char" => Self::Char(first.unwrap_or(1)),
            "varchar" => Self::VarChar(first.unwrap_or(0)),
            "binary" => Self::Binary(first.unwrap_or(1)),
            "varbinary" => Self::VarBinary(first.unwrap_or(0)),
            "tinytext" => Self::TinyText,
            "text" => Self::Text,
            "mediumtext" => Self::MediumText,
            "longtext" => Self::LongText,
            "tinyblob" => Self::TinyBlob,
            "blob" => Self::Blob,
            "mediumblob" => Self::MediumBlob,
            "longblob" => Self::LongBlob,
            "enum" => Self::Enum(members_of(rest)),
            "set" => Self::Set(members_of(rest)),
            "json" => Self::Json,
            "geometry" => Self::Geometry(GeometryKind::Any),
            "point" => Self::Geometry(GeometryKind::Point),
            "linestring" => Self::Geometry(GeometryKind::LineString),
            "polygon" => Self::Geometry(GeometryKind::Polygon),
            "multipoint" => Self::Geometry(GeometryKind::MultiPoint),
            "multilinestring" => Self::Geometry(GeometryKind::MultiLineString),
            "multipolygon" => Self::Geometry(GeometryKind::MultiPolygon),
            "geometrycollection" | "geomcollection" => Self::Geometry(GeometryKind::Collection),
            "vector" => Self::Vector(first.unwrap_or(0)),
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            "uuid" => Self::Uuid,
            _ => Self::Other(word),
        }
    }

    /// True for types whose values are text in the column's character set.
    pub fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Char(_)
                | Self::VarChar(_)
                | Self::TinyText
                | Self::Text
                | Self::MediumText
                | Self::LongText
        )
    }

    /// True for the five integer types.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::MediumInt | Self::Int | Self::BigInt)
    }
}

/// The numbers between the first pair of parentheses.
fn numbers_of(rest: &str) -> Vec<u32> {
    let Some(inner) = rest.strip_prefix('(').and_then(|rest| rest.split(')').next()) else {
        return Vec::new();
    };
    inner.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// The members of an ENUM or SET: quoted strings with doubled quotes, and the few backslash escapes servers write.
fn members_of(rest: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let mut member = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '\'' if chars.peek() == Some(&'\'') => {
                            chars.next();
                            member.push('\'');
                        }
                        '\'' => break,
                        '\\' => match chars.next() {
                            Some('0') => member.push('\0'),
                            Some('n') => member.push('\n'),
                            Some('r') => member.push('\r'),
                            Some(other) => member.push(other),
                            None => break,
                        },
                        other => member.push(other),
                    }
                }
                members.push(member);
            }
            ')' => break,
            _ => {}
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_parse() {
        for (text, want) in [
            ("int(10) unsigned zerofill", ColumnType::Int),
            ("tinyint", ColumnType::TinyInt),
            ("decimal(65,30) unsigned", ColumnType::Decimal { precision: 65, scale: 30 }),
            ("decimal(5)", ColumnType::Decimal { precision: 5, scale: 0 }),
            ("float(7,3)", ColumnType::Float),
            ("datetime(6)", ColumnType::DateTime(6)),
            ("timestamp /* mariadb-5.3 */", ColumnType::Timestamp(0)),
            ("time(3) /* mariadb-5.3 */", ColumnType::Time(3)),
            ("varchar(20) /*M!100301 COMPRESSED*/", ColumnType::VarChar(20)),
            ("geomcollection", ColumnType::Geometry(GeometryKind::Collection)),
            ("vector(3)", ColumnType::Vector(3)),
            ("xmltype", ColumnType::Other("xmltype".into())),
        ] {
            assert_eq!(ColumnType::parse(text), want, "{text}");
        }
    }

    #[test]
    fn members_with_quotes_commas_and_parentheses_parse() {
        assert_eq!(
            ColumnType::parse(r"enum('a','b''c',',(',')','','d\\e')"),
            ColumnType::Enum(["a", "b'c", ",(", ")", "", "d\\e"].into_iter().map(str::to_owned).collect())
        );
    }
}
