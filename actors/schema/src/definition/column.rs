//! Column definitions.

use super::data_type::{self, RawType, has_charset};
use super::key::RawKey;
use super::{Column, Context, Definition, KeyKind, KeyPart};
use crate::lex::{TokenKind, Tokens};

/// Reads the inside of a statement from the left.
pub(super) struct Reader<'t, 'a> {
    pub tokens: &'t Tokens<'a>,
    pub at: usize,
    pub context: &'t Context,
}

/// Where ALTER TABLE puts a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At the end, or where it was.
    Default,
    First,
    After(String),
}

/// A column as written.
#[derive(Debug, Clone)]
pub(super) struct RawColumn {
    pub name: String,
    data_type: RawType,
    unsigned: bool,
    compressed: bool,
    nullable: Option<bool>,
    charset: Option<String>,
    collation: Option<String>,
    /// BINARY behind a text type: its character set's `_bin` collation.
    bin: bool,
    generated: bool,
    invisible: bool,
    auto_increment: bool,
    pub keys: Vec<RawKey>,
    pub place: Place,
}

impl Reader<'_, '_> {
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.is(self.at, word);
        self.at += usize::from(found);
        found
    }

    pub fn take_any(&mut self, words: &[&str]) -> bool {
        let found = self.tokens.is_any(self.at, words);
        self.at += usize::from(found);
        found
    }

    pub fn take_punct(&mut self, c: char) -> bool {
        let found = self.tokens.punct(self.at, c);
        self.at += usize::from(found);
        found
    }

    /// `IF EXISTS` or `IF NOT EXISTS`.
    pub fn take_if_exists(&mut self) -> bool {
        if self.tokens.are(self.at, &["IF", "EXISTS"]) {
            self.at += 2;
            return true;
        }
        let found = self.tokens.are(self.at, &["IF", "NOT", "EXISTS"]);
        self.at += if found { 3 } else { 0 };
        found
    }

    pub fn ended(&self) -> bool {
        self.at >= self.tokens.len() || self.tokens.punct(self.at, ';')
    }

    /// The end of a list item: `,`, the closing parenthesis or the end of the statement.
    pub fn at_item_end(&self) -> bool {
        self.ended() || self.tokens.punct(self.at, ',') || self.tokens.punct(self.at, ')')
    }

    /// To the end of the list item.
    pub fn skip_item(&mut self) {
        while !self.at_item_end() {
            self.skip_one();
        }
    }

    /// One token, or parentheses with what is in them.
    pub fn skip_one(&mut self) {
        self.at =
            if self.tokens.punct(self.at, '(') { self.tokens.skip_parens(self.at) } else { self.at + 1 };
    }

    /// A name; of a qualified one the last part.
    pub fn name(&mut self) -> Option<String> {
        let mut name = self.tokens.ident(self.at)?.into_owned();
        self.at += 1;
        while self.tokens.punct(self.at, '.') {
            name = self.tokens.ident(self.at + 1)?.into_owned();
            self.at += 2;
        }
        Some(name)
    }

    /// A word, a quoted name or a string: what character sets and collations are written as.
    pub fn word(&mut self) -> Option<String> {
        self.take_punct('=');
        let text = self.tokens.text(self.at);
        let word = match self.tokens.list.get(self.at)?.kind {
            TokenKind::Word | TokenKind::QuotedIdent => self.tokens.ident(self.at)?.into_owned(),
            TokenKind::Text => text.trim_matches(['\'', '"']).to_owned(),
            _ => return None,
        };
        self.at += 1;
        Some(word.to_ascii_lowercase())
    }

    /// `CHARACTER SET` or `CHARSET`.
    pub fn take_charset(&mut self) -> bool {
        if self.take("CHARSET") {
            return true;
        }
        let found = self.tokens.is_any(self.at, &["CHARACTER", "CHAR"]) && self.tokens.is(self.at + 1, "SET");
        self.at += if found { 2 } else { 0 };
        found
    }

    /// A column from its name on, up to the end of the list item.
    pub fn column(&mut self) -> Option<RawColumn> {
        let name = self.name()?;
        self.column_named(name)
    }

    pub fn column_named(&mut self, name: String) -> Option<RawColumn> {
        let (data_type, at) =
            data_type::read(self.tokens, self.at, self.context.mariadb, self.context.real_as_float)?;
        self.at = at;
        let key = |kind| RawKey {
            name: (kind == KeyKind::Primary).then(|| "PRIMARY".to_owned()),
            kind,
            parts: vec![KeyPart { column: Some(name.clone()), prefix: None }],
            if_not_exists: false,
        };
        let mut column = RawColumn {
            name: name.clone(),
            unsigned: data_type.serial,
            compressed: false,
            nullable: data_type.serial.then_some(false),
            charset: None,
            collation: None,
            bin: false,
            generated: false,
            invisible: false,
            auto_increment: data_type.serial,
            keys: if data_type.serial { vec![key(KeyKind::Unique)] } else { Vec::new() },
            place: Place::Default,
            data_type,
        };
        while !self.at_item_end() {
            if self.take_any(&["UNSIGNED", "ZEROFILL"]) {
                column.unsigned = true;
            } else if self.take("NOT") {
                if self.take("NULL") {
                    column.nullable = Some(false);
                }
            } else if self.take("NULL") {
                column.nullable = Some(true);
            } else if self.take("DEFAULT") {
                self.default_value();
            } else if self.take("SERIAL") {
                // SERIAL DEFAULT VALUE.
                self.take("DEFAULT");
                self.take("VALUE");
                column.auto_increment = true;
                column.nullable = Some(false);
                column.keys.push(key(KeyKind::Unique));
            } else if self.take("AUTO_INCREMENT") {
                column.auto_increment = true;
            } else if self.take("UNIQUE") {
                self.take("KEY");
                column.keys.push(key(KeyKind::Unique));
            } else if self.take("PRIMARY") {
                self.take("KEY");
                column.keys.push(key(KeyKind::Primary));
            } else if self.take("KEY") {
                column.keys.push(key(KeyKind::Primary));
            } else if self.take_charset() {
                column.charset = Some(self.word()?);
            } else if self.take("COLLATE") {
                column.collation = Some(self.word()?);
            } else if self.take("ASCII") {
                column.charset = Some("latin1".to_owned());
            } else if self.take("UNICODE") {
                column.charset = Some("ucs2".to_owned());
            } else if self.take("BYTE") {
                column.charset = Some("binary".to_owned());
            } else if self.take("BINARY") {
                column.bin = true;
            } else if self.take("COMPRESSED") {
                column.compressed = true;
                if self.take_punct('=') {
                    self.at += 1;
                }
            } else if self.take("GENERATED") {
                self.take("ALWAYS");
            } else if self.take("AS") {
                column.generated = true;
                if self.take("ROW") {
                    self.at += 1;
                } else {
                    self.skip_one();
                }
            } else if self.take("INVISIBLE") {
                column.invisible = true;
            } else if self.take("VISIBLE") {
                column.invisible = false;
            } else if self.take("ON") {
                self.at += 1;
                // `SET NULL`, `SET DEFAULT` and `NO ACTION` are two words, the others one.
                let _ = self.take("SET") || self.take("NO");
                self.at += 1;
                if self.tokens.punct(self.at, '(') {
                    self.skip_one();
                }
            } else if self.take("REFERENCES") {
                self.name()?;
            } else if self.take("COMMENT") {
                self.at += 1;
            } else if self.take("FIRST") {
                column.place = Place::First;
            } else if self.take("AFTER") {
                column.place = Place::After(self.name()?);
            } else {
                self.skip_one();
            }
        }
        Some(column)
    }

    /// What stands behind DEFAULT: its first part; the rest is no attribute and is passed over.
    fn default_value(&mut self) {
        while self.take_punct('-') || self.take_punct('+') {}
        let introducer = self.tokens.text(self.at).starts_with('_');
        let word = self.tokens.is_kind(self.at, TokenKind::Word);
        self.skip_one();
        if introducer || word && self.tokens.punct(self.at, '(') {
            self.skip_one();
        }
    }
}

/// The character set of a collation; `None` when its name does not tell.
pub(super) fn charset_of(collation: &str) -> Option<String> {
    match collation {
        "binary" => Some("binary".to_owned()),
        name if name.starts_with("uca1400_") => None,
        name => name.split('_').next().map(str::to_owned),
    }
}

/// The server's name.
pub(super) fn normal(charset: String) -> String {
    if charset == "utf8" { "utf8mb3".to_owned() } else { charset }
}

impl RawColumn {
    /// The column in a table of this default character set.
    pub fn resolve(&self, table: &Definition, context: &Context) -> Column {
        let mut raw = self.data_type.clone();
        let (mut charset, mut collation) = (None, None);
        if has_charset(raw.base) {
            let own = self.charset.clone().filter(|name| name != "default");
            let named = if raw.national { Some("utf8mb3".to_owned()) } else { own };
            let named = named.or_else(|| self.collation.as_deref().and_then(charset_of)).map(normal);
            charset = match named {
                _ if raw.json_text && self.charset.is_none() => Some("utf8mb4".to_owned()),
                Some(named) => Some(named),
                None => table.charset.clone(),
            };
            collation = match &self.collation {
                Some(named) => Some(named.clone()),
                None if raw.json_text && self.charset.is_none() => Some("utf8mb4_bin".to_owned()),
                None if self.bin => charset.as_ref().map(|charset| format!("{charset}_bin")),
                None if self.charset.is_none() && !raw.national => table.collation.clone(),
                None => None,
            };
            if charset.as_deref() == Some("binary") && !matches!(raw.base, "enum" | "set") {
                raw.base = data_type::binary_type(raw.base);
                (charset, collation) = (None, None);
            }
        }
        let mut type_text = raw.text(charset.as_deref());
        if self.unsigned {
            type_text += " unsigned";
        }
        if self.compressed {
            type_text += " /*M!100301 COMPRESSED*/";
        }
        let timestamp = raw.base == "timestamp" && !context.explicit_timestamps && !self.generated;
        Column {
            name: self.name.clone(),
            type_text,
            nullable: self.nullable.unwrap_or(!timestamp && !self.auto_increment),
            charset,
            collation,
            generated: self.generated,
            invisible: self.invisible,
            auto_increment: self.auto_increment,
        }
    }
}
