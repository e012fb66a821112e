//! Cuts SQL text of any origin into statements, as it comes in pieces.
//!
//! Bytes are looked at, not characters: who writes such files escapes bytes. Comments are left out, but for those that
//! servers execute. Nothing is executed because of what stands in a comment or a string.

/// Why a text cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SplitError {
    /// A statement is longer than the limit.
    TooLong,
    /// The text ends in the middle of a statement, a string or a comment.
    Unterminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    Quoted(u8),
    Escaped(u8),
    Line,
    /// Behind `/*`: is it executed?
    CommentBegun,
    /// Behind `/*M`.
    CommentBegunM,
    /// In a comment, behind a `*` or not.
    Comment(bool),
}

/// Holds one statement at a time.
pub(super) struct Splitter {
    state: State,
    /// Inside of `/*! … */`.
    executed: bool,
    statement: Vec<u8>,
    limit: usize,
}

impl Splitter {
    /// No statement may be longer than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { state: State::Plain, executed: false, statement: Vec::new(), limit }
    }

    /// Takes the next piece of text; statements that it completes are appended to `out`, without their semicolon.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), SplitError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Quoted(quote) = self.state {
                // Most bytes are in strings.
                let end = memchr::memchr2(quote, b'\\', bytes).unwrap_or(bytes.len());
                let (inner, tail) = bytes.split_at(end);
                self.statement.extend_from_slice(inner);
                bytes = tail;
                if let Some((&byte, rest)) = tail.split_first() {
                    self.statement.push(byte);
                    self.state = match byte {
                        b'\\' if quote != b'`' => State::Escaped(quote),
                        byte if byte == quote => State::Plain,
                        _ => State::Quoted(quote),
                    };
                    bytes = rest;
                }
            } else {
                if let Some(statement) = self.byte(byte) {
                    out.push(statement);
                }
                bytes = rest;
            }
            if self.statement.len() > self.limit {
                return Err(SplitError::TooLong);
            }
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Option<Vec<u8>> {
        match self.state {
            State::Plain => return self.plain(byte),
            State::Quoted(_) => {}
            State::Escaped(quote) => {
                self.statement.push(byte);
                self.state = State::Quoted(quote);
            }
            State::Line => {
                if byte == b'\n' {
                    self.statement.push(b'\n');
                    self.state = State::Plain;
                }
            }
            State::CommentBegun | State::CommentBegunM if byte == b'!' => {
                self.statement.push(byte);
                self.executed = true;
                self.state = State::Plain;
            }
            State::CommentBegun if byte == b'M' => {
                self.statement.push(byte);
                self.state = State::CommentBegunM;
            }
            State::CommentBegun | State::CommentBegunM => {
                let behind = if self.state == State::CommentBegun { 2 } else { 3 };
                self.statement.truncate(self.statement.len().saturating_sub(behind));
                // `/**/` is a whole comment.
                let ended = self.state == State::CommentBegun && byte == b'/';
                self.state = State::Comment(byte == b'*');
                if ended {
                    self.comment_ends();
                }
            }
            State::Comment(star) => {
                if star && byte == b'/' {
                    self.comment_ends();
                } else {
                    self.state = State::Comment(byte == b'*');
                }
            }
        }
        None
    }

    fn comment_ends(&mut self) {
        self.statement.push(b' ');
        self.state = State::Plain;
    }

    fn plain(&mut self, byte: u8) -> Option<Vec<u8>> {
        let last = self.statement.last().copied();
        match byte {
            b';' if !self.executed => {
                let statement = std::mem::take(&mut self.statement);
                let trimmed = statement.trim_ascii();
                return (!trimmed.is_empty()).then(|| trimmed.to_vec());
            }
            b'\'' | b'"' | b'`' => self.state = State::Quoted(byte),
            b'#' => {
                self.state = State::Line;
                return None;
            }
            b'*' if last == Some(b'/') && !self.executed => self.state = State::CommentBegun,
            b'/' if last == Some(b'*') && self.executed => self.executed = false,
            byte if byte.is_ascii_whitespace() && self.statement.ends_with(b"--") => {
                self.statement.truncate(self.statement.len() - 2);
                self.state = if byte == b'\n' { State::Plain } else { State::Line };
            }
            _ => {}
        }
        self.statement.push(byte);
        None
    }

    /// The text is at its end. A file that was cut off may end anywhere: only a semicolon says that a statement is whole.
    pub fn finish(self) -> Result<(), SplitError> {
        let ended = !self.executed && matches!(self.state, State::Plain | State::Line);
        if ended && self.statement.trim_ascii().is_empty() { Ok(()) } else { Err(SplitError::Unterminated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut in every possible place, the statements are the same.
    fn split(text: &[u8]) -> Result<Vec<String>, SplitError> {
        let in_pieces = |size: usize| {
            let mut splitter = Splitter::new(1000);
            let mut out = Vec::new();
            for piece in text.chunks(size) {
                splitter.push(piece, &mut out)?;
            }
            splitter.finish()?;
            Ok(out.iter().map(|statement| String::from_utf8_lossy(statement).into_owned()).collect())
        };
        let whole = in_pieces(text.len().max(1));
        for size in 1..8 {
            assert_eq!(in_pieces(size), whole, "pieces of {size}");
        }
        whole
    }

    #[test]
    fn semicolons_count_outside_of_strings_and_comments() {
        for (text, want) in [
            ("a; b ;\n;c;", vec!["a", "b", "c"]),
            ("'x;''y\\';' ; \"a;\" `b;\\`;", vec!["'x;''y\\';'", "\"a;\" `b;\\`"]),
            ("-- one;\n# two;\na/* ; */b/**/c;--x;", vec!["a b c", "--x"]),
            ("/*!40101 SET NAMES binary*/;/*M! x;y */;", vec!["/*!40101 SET NAMES binary*/", "/*M! x;y */"]),
            ("/*Mx;*/a;", vec!["a"]),
            ("a--\n;", vec!["a"]),
            ("1-1;", vec!["1-1"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text.as_bytes()).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for text in ["a", "a 'x;", "/* x", "/*! x;", "a;b", "'\\"] {
            assert_eq!(split(text.as_bytes()), Err(SplitError::Unterminated), "{text}");
        }
        assert_eq!(split("x".repeat(2000).as_bytes()), Err(SplitError::TooLong));
        assert_eq!(split(format!("'{}", "x".repeat(2000)).as_bytes()), Err(SplitError::TooLong));
    }
}
