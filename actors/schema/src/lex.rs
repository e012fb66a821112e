//! A tolerant lexer for the SQL of MySQL and MariaDB.
//!
//! It never fails and never panics: whatever the bytes, it answers tokens with byte spans. Executable comments
//! (`/*!80023 … */`, `/*M!100301 … */`) are looked into, since the server that wrote the statement executed them
//! (servers blank the ones they skip before they write a statement to the binlog). Other comments yield nothing.

use std::borrow::Cow;
use std::ops::Range;

use dmnode_model::Flavor;

/// How the session that ran a statement read it: the bits of `sql_mode` that change where tokens end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlMode {
    /// `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// A backslash inside a string is a backslash.
    pub no_backslash_escapes: bool,
    /// `/*M! … */` is executed (MariaDB) and not a comment (MySQL).
    pub mariadb_comments: bool,
}

impl Default for SqlMode {
    fn default() -> Self {
        SqlMode { ansi_quotes: false, no_backslash_escapes: false, mariadb_comments: true }
    }
}

impl SqlMode {
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

    /// The mode of a query event: `bits` is the `sql_mode` of its status variables.
    pub fn from_bits(bits: u64, flavor: Flavor) -> Self {
        SqlMode {
            ansi_quotes: bits & Self::ANSI_QUOTES != 0,
            no_backslash_escapes: bits & Self::NO_BACKSLASH_ESCAPES != 0,
            mariadb_comments: flavor == Flavor::Mariadb,
        }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword or an unquoted identifier.
    Word,
    /// `` `x` ``, or `"x"` under ANSI_QUOTES.
    QuotedIdent,
    /// `'x'`, `"x"`, `n'x'`, `x'00'`, `b'01'`.
    Text,
    /// `1`, `1.5`, `.5`, `1e10`, `0xff`.
    Number,
    /// `@x`, `@@x`, `` @`x` ``, `@'x'`.
    Variable,
    /// `/*!NNNNN` or `/*M!NNNNNN` that is executed.
    CommentOpen,
    /// The `*/` of an executed comment.
    CommentClose,
    /// Any other single character.
    Punct(char),
}

/// One token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

/// A statement cut into tokens.
#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    pub sql: &'a str,
    pub list: Vec<Token>,
    /// A string, quoted name or comment does not end: the text cannot have been executed as it stands.
    pub unterminated: bool,
}

impl<'a> Tokens<'a> {
    /// Cuts `sql` into tokens; the marks of executed comments are left out.
    pub fn of(sql: &'a str, mode: SqlMode) -> Tokens<'a> {
        let mut tokens = Self::with_comment_marks(sql, mode);
        tokens.list.retain(|t| !matches!(t.kind, TokenKind::CommentOpen | TokenKind::CommentClose));
        tokens
    }

    /// Cuts `sql` into tokens, the marks of executed comments included.
    pub fn with_comment_marks(sql: &'a str, mode: SqlMode) -> Tokens<'a> {
        let mut lexer =
            Lexer { sql, bytes: sql.as_bytes(), pos: 0, mode, unterminated: false, comment_depth: 0 };
        let mut list: Vec<Token> = Vec::with_capacity(sql.len() / 6 + 4);
        while let Some(token) = lexer.next_token(list.last()) {
            list.push(token);
        }
        let unterminated = lexer.unterminated || lexer.comment_depth > 0;
        Tokens { sql, list, unterminated }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The text of token `i` as written; empty beyond the end.
    pub fn text(&self, i: usize) -> &'a str {
        self.list.get(i).and_then(|t| self.sql.get(t.start..t.end)).unwrap_or("")
    }

    pub fn span(&self, i: usize) -> Range<usize> {
        self.list.get(i).map_or(self.sql.len()..self.sql.len(), |t| t.start..t.end)
    }

    /// Token `i` is this unquoted word, whatever its case.
    pub fn is(&self, i: usize, word: &str) -> bool {
        matches!(self.list.get(i), Some(Token { kind: TokenKind::Word, .. }))
            && self.text(i).eq_ignore_ascii_case(word)
    }

    /// Token `i` is one of these unquoted words.
    pub fn is_any(&self, i: usize, words: &[&str]) -> bool {
        words.iter().any(|w| self.is(i, w))
    }

    /// The tokens from `i` on are these words.
    pub fn are(&self, i: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, w)| self.is(i + n, w))
    }

    pub fn punct(&self, i: usize, c: char) -> bool {
        matches!(self.list.get(i), Some(Token { kind: TokenKind::Punct(p), .. }) if *p == c)
    }

    pub fn is_ident(&self, i: usize) -> bool {
        matches!(self.list.get(i), Some(Token { kind: TokenKind::Word | TokenKind::QuotedIdent, .. }))
    }

    pub fn is_kind(&self, i: usize, kind: TokenKind) -> bool {
        self.list.get(i).is_some_and(|t| t.kind == kind)
    }

    /// The name that an identifier token stands for, quotes taken off.
    pub fn ident(&self, i: usize) -> Option<Cow<'a, str>> {
        let token = self.list.get(i)?;
        let text = self.text(i);
        match token.kind {
            TokenKind::Word => Some(Cow::Borrowed(text)),
            TokenKind::QuotedIdent => {
                let quote = text.get(..1)?;
                let inner = text.get(1..text.len().checked_sub(1)?)?;
                let doubled = quote.repeat(2);
                Some(if inner.contains(&doubled) {
                    Cow::Owned(inner.replace(&doubled, quote))
                } else {
                    Cow::Borrowed(inner)
                })
            }
            _ => None,
        }
    }

    /// From the `(` at `open` to just behind its `)`; to the end if it is not closed.
    pub fn skip_parens(&self, open: usize) -> usize {
        let mut depth = 0usize;
        let mut i = open;
        while let Some(token) = self.list.get(i) {
            match token.kind {
                TokenKind::Punct('(') => depth += 1,
                TokenKind::Punct(')') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i + 1;
                    }
                }
                _ => {}
            }
            if depth == 0 {
                return i + 1;
            }
            i += 1;
        }
        i
    }
}

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    pos: usize,
    mode: SqlMode,
    unterminated: bool,
    comment_depth: usize,
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.pos + ahead).copied().unwrap_or(0)
    }

    fn token(&self, kind: TokenKind, start: usize) -> Option<Token> {
        Some(Token { kind, start, end: self.pos })
    }

    fn next_token(&mut self, previous: Option<&Token>) -> Option<Token> {
        loop {
            self.skip_blanks();
            let start = self.pos;
            let first = *self.bytes.get(start)?;
            match first {
                b'/' if self.peek(1) == b'*' => {
                    if let Some(token) = self.comment() {
                        return Some(token);
                    }
                }
                b'*' if self.peek(1) == b'/' && self.comment_depth > 0 => {
                    self.comment_depth -= 1;
                    self.pos += 2;
                    return self.token(TokenKind::CommentClose, start);
                }
                b'#' => self.skip_line(),
                b'-' if self.peek(1) == b'-' && self.dashes_open_comment() => self.skip_line(),
                b'`' => return self.quoted(TokenKind::QuotedIdent, b'`', start),
                b'"' if self.mode.ansi_quotes => return self.quoted(TokenKind::QuotedIdent, b'"', start),
                b'\'' | b'"' => return self.string(first, start),
                b'n' | b'N' | b'x' | b'X' | b'b' | b'B' if self.peek(1) == b'\'' => {
                    self.pos += 1;
                    return self.string(b'\'', start);
                }
                b'@' => return self.variable(start, previous),
                b'.' if self.peek(1).is_ascii_digit() && !after_name(previous, start) => {
                    return self.number(start);
                }
                b'0'..=b'9' if !after_dot(previous, start) && self.starts_number() => {
                    return self.number(start);
                }
                b if is_word_byte(b) => {
                    while self.bytes.get(self.pos).is_some_and(|b| is_word_byte(*b)) {
                        self.pos += 1;
                    }
                    return self.token(TokenKind::Word, start);
                }
                _ => {
                    // All bytes from 0x80 on are word bytes, so this is ASCII.
                    self.pos += 1;
                    return self.token(TokenKind::Punct(char::from(first)), start);
                }
            }
        }
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.pos).is_some_and(|b| b.is_ascii_whitespace() || *b == 0x0b || *b == 0) {
            self.pos += 1;
        }
    }

    fn skip_line(&mut self) {
        while self.bytes.get(self.pos).is_some_and(|b| *b != b'\n') {
            self.pos += 1;
        }
    }

    /// `--` opens a comment only before a blank, a control character or the end; `5--3` is arithmetic.
    fn dashes_open_comment(&self) -> bool {
        self.bytes.get(self.pos + 2).is_none_or(|b| *b <= b' ' || *b == 0x7f)
    }

    /// Skips a comment, or answers the opening mark of an executed one.
    fn comment(&mut self) -> Option<Token> {
        let start = self.pos;
        let executed = match (self.peek(2), self.peek(3)) {
            (b'!', _) => Some(3),
            (b'M', b'!') if self.mode.mariadb_comments => Some(4),
            _ => None,
        };
        if let Some(mark) = executed {
            self.pos += mark;
            let mut digits = 0;
            while digits < 6 && self.peek(0).is_ascii_digit() {
                self.pos += 1;
                digits += 1;
            }
            self.comment_depth += 1;
            return self.token(TokenKind::CommentOpen, start);
        }
        match self.sql.get(start + 2..).and_then(|rest| rest.find("*/")) {
            Some(length) => self.pos = start + 2 + length + 2,
            None => {
                self.pos = self.bytes.len();
                self.unterminated = true;
            }
        }
        None
    }

    /// A name in quotes; only the doubled quote is special.
    fn quoted(&mut self, kind: TokenKind, quote: u8, start: usize) -> Option<Token> {
        self.pos += 1;
        loop {
            match self.bytes.get(self.pos) {
                None => {
                    self.unterminated = true;
                    return self.token(kind, start);
                }
                Some(b) if *b == quote && self.peek(1) == quote => self.pos += 2,
                Some(b) if *b == quote => {
                    self.pos += 1;
                    return self.token(kind, start);
                }
                Some(_) => self.pos += 1,
            }
        }
    }

    /// A string whose opening quote stands at `self.pos`.
    fn string(&mut self, quote: u8, start: usize) -> Option<Token> {
        self.pos += 1;
        loop {
            match self.bytes.get(self.pos) {
                None => {
                    self.unterminated = true;
                    return self.token(TokenKind::Text, start);
                }
                Some(b'\\') if !self.mode.no_backslash_escapes => self.skip_escaped(),
                Some(b) if *b == quote && self.peek(1) == quote => self.pos += 2,
                Some(b) if *b == quote => {
                    self.pos += 1;
                    return self.token(TokenKind::Text, start);
                }
                Some(_) => self.pos += 1,
            }
        }
    }

    /// A backslash and the byte behind it. Continuation bytes of a longer character follow as plain bytes.
    fn skip_escaped(&mut self) {
        self.pos = (self.pos + 2).min(self.bytes.len());
    }

    /// `@name`, `@@name`, or a lone `@` (as in `` `user`@`host` ``).
    fn variable(&mut self, start: usize, previous: Option<&Token>) -> Option<Token> {
        self.pos += 1;
        let is_host = previous.is_some_and(|p| {
            p.end == start && matches!(p.kind, TokenKind::Word | TokenKind::QuotedIdent | TokenKind::Text)
        });
        if is_host {
            return self.token(TokenKind::Punct('@'), start);
        }
        if self.peek(0) == b'@' {
            self.pos += 1;
        }
        match self.peek(0) {
            quote @ (b'`' | b'\'' | b'"') => self.quoted(TokenKind::Variable, quote, start),
            _ => {
                while self.bytes.get(self.pos).is_some_and(|b| is_word_byte(*b) || *b == b'.') {
                    self.pos += 1;
                }
                self.token(TokenKind::Variable, start)
            }
        }
    }

    /// A word of digits only, or `1.5`, `1e5`, `0x1f`, `0b01`: otherwise (`1st_table`) it is a name.
    fn starts_number(&self) -> bool {
        let word_end =
            (self.pos..self.bytes.len()).find(|i| !is_word_byte(self.bytes[*i])).unwrap_or(self.bytes.len());
        let word = &self.bytes[self.pos..word_end];
        let all_digits = |w: &[u8]| !w.is_empty() && w.iter().all(u8::is_ascii_digit);
        if all_digits(word) {
            return true;
        }
        if let Some(hex) = word.strip_prefix(b"0x") {
            return !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit);
        }
        if let Some(bits) = word.strip_prefix(b"0b") {
            return !bits.is_empty() && bits.iter().all(|b| matches!(b, b'0' | b'1'));
        }
        match word.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(e) => {
                let exponent = &word[e + 1..];
                let signed = exponent.is_empty() && matches!(self.bytes.get(word_end), Some(b'+' | b'-'));
                all_digits(&word[..e]) && (all_digits(exponent) || signed)
            }
            None => false,
        }
    }

    fn number(&mut self, start: usize) -> Option<Token> {
        let mut seen_dot = false;
        while let Some(b) = self.bytes.get(self.pos) {
            match b {
                b'.' if !seen_dot => seen_dot = true,
                b'+' | b'-' if matches!(self.bytes.get(self.pos.wrapping_sub(1)), Some(b'e' | b'E')) => {}
                b if is_word_byte(*b) => {}
                _ => break,
            }
            self.pos += 1;
        }
        self.token(TokenKind::Number, start)
    }
}

/// The dot at `start` stands directly behind a name: it joins two names.
fn after_name(previous: Option<&Token>, start: usize) -> bool {
    previous.is_some_and(|p| p.end == start && matches!(p.kind, TokenKind::Word | TokenKind::QuotedIdent))
}

/// The word at `start` stands directly behind a dot: it is a name even if it looks like a number.
fn after_dot(previous: Option<&Token>, start: usize) -> bool {
    previous.is_some_and(|p| p.end == start && p.kind == TokenKind::Punct('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str, mode: SqlMode) -> Vec<&str> {
        let tokens = Tokens::of(sql, mode);
        (0..tokens.len()).map(|i| tokens.text(i)).collect()
    }

    #[test]
    fn cuts_names_strings_and_comments() {
        let sql = "DROP /* x */ TABLE `a``b`.c -- end\n , 'it''s', \"q\\\"\", n'x' # tail";
        assert_eq!(
            texts(sql, SqlMode::default()),
            ["DROP", "TABLE", "`a``b`", ".", "c", ",", "'it''s'", ",", "\"q\\\"\"", ",", "n'x'"]
        );
        let tokens = Tokens::of(sql, SqlMode::default());
        assert_eq!(tokens.ident(2).as_deref(), Some("a`b"));
    }

    #[test]
    fn looks_into_executed_comments() {
        assert_eq!(texts("a /*!80023 INVISIBLE */ b", SqlMode::default()), ["a", "INVISIBLE", "b"]);
        assert_eq!(texts("a /*M!100301 COMPRESSED*/ b", SqlMode::default()), ["a", "COMPRESSED", "b"]);
        let mysql = SqlMode { mariadb_comments: false, ..SqlMode::default() };
        assert_eq!(texts("a /*M!100301 COMPRESSED*/ b", mysql), ["a", "b"]);
        assert_eq!(texts("a /*!50100 x /* y */ z */ b", SqlMode::default()), ["a", "x", "z", "b"]);
    }

    #[test]
    fn sql_mode_changes_quotes_and_backslashes() {
        let mode = SqlMode { ansi_quotes: true, no_backslash_escapes: true, ..SqlMode::default() };
        let tokens = Tokens::of(r#""t" 'a\' x"#, mode);
        assert_eq!(tokens.list[0].kind, TokenKind::QuotedIdent);
        assert_eq!(tokens.list[1].kind, TokenKind::Text);
        assert_eq!(tokens.text(2), "x");
        assert!(!tokens.unterminated);
        assert!(Tokens::of(r"'a\' x", SqlMode::default()).unterminated);
        assert_eq!(SqlMode::from_bits(0x10_0004, Flavor::Mysql), SqlMode { mariadb_comments: false, ..mode });
    }

    #[test]
    fn tells_numbers_from_names() {
        assert_eq!(
            texts("1st 12 1.5 .5 1e5 0x1F a.1b a.1 5--3", SqlMode::default()),
            ["1st", "12", "1.5", ".5", "1e5", "0x1F", "a", ".", "1b", "a", ".", "1", "5", "-", "-", "3"]
        );
        let tokens = Tokens::of("a.1", SqlMode::default());
        assert!(tokens.is_ident(2));
    }

    #[test]
    fn hosts_and_variables() {
        assert_eq!(
            texts("`u`@`h` @x @@session.y @`z`", SqlMode::default()),
            ["`u`", "@", "`h`", "@x", "@@session.y", "@`z`"]
        );
    }
}
