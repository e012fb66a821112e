//! `mydumpers.extra-args`: arguments of DM's dump program, as far as they mean something here.

use super::fields::parse_size;
use super::units::{DumpCompression, DumpConfig, DumpFileType, connections};
use super::warnings::Warnings;
use crate::codes;
use crate::error::CodedError;

/// Flags without a value.
const SWITCHES: [&str; 8] =
    ["-W", "--no-views", "--no-locks", "--escape-backslash", "-m", "--no-schemas", "-d", "--no-data"];

impl DumpConfig {
    /// Takes over from `extra-args` what has a setting of its own. Where files are written (`files`), an argument that would
    /// make other files than ours is refused; elsewhere it has no effect.
    pub(super) fn apply_extra_args(
        &mut self,
        path: &str,
        files: bool,
        warnings: &mut Warnings,
    ) -> Result<(), CodedError> {
        let args = self.extra_args.clone();
        let setting = format!("{path}.extra-args");
        let mut words = args.split_whitespace().map(unquote);
        while let Some(word) = words.next() {
            let (flag, mut value) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (word, None),
            };
            if !SWITCHES.contains(&flag) && value.is_none() {
                value = words.next();
            }
            let text = unquote(value.unwrap_or_default());
            let bad = || {
                CodedError::new(
                    codes::CONFIG_VALUE_INVALID,
                    format!("`{setting}`: `{flag} {text}` is not valid"),
                )
            };
            match flag {
                "-t" | "--threads" => {
                    let threads = text.parse().map_err(|_| bad())?;
                    self.threads = connections(Some(threads), self.threads, &setting, warnings)?;
                }
                "-r" | "--rows" => self.rows = text.parse().map_err(|_| bad())?,
                "-F" | "--filesize" => {
                    self.chunk_filesize = parse_size(text, 1 << 20).ok_or_else(bad)?;
                }
                "--where" => text.clone_into(&mut self.where_condition),
                "-s" | "--statement-size" if files => {
                    self.statement_size = parse_size(text, 1).ok_or_else(bad)?;
                }
                "-s" | "--statement-size" => {
                    warnings.never(&setting, "statements are cut by what the target takes");
                }
                "--filetype" if files => {
                    self.file_type = match text {
                        "sql" => DumpFileType::Sql,
                        "csv" => DumpFileType::Csv,
                        _ => return Err(bad()),
                    }
                }
                "-c" | "--compress" if files => {
                    self.compression = match text {
                        "" | "no-compression" => DumpCompression::None,
                        "gzip" | "gz" => DumpCompression::Gzip,
                        "zstd" | "zst" => DumpCompression::Zstd,
                        "snappy" => DumpCompression::Snappy,
                        _ => return Err(bad()),
                    }
                }
                "--consistency" | "--no-locks" | "--transactional-consistency" | "--snapshot" => warnings
                    .never(
                        &format!("{setting}: {flag}"),
                        "everything is read in a consistent snapshot with a known position",
                    ),
                "-W" | "--no-views" if files => {
                    warnings.never(&format!("{setting}: {flag}"), "views are never dumped");
                }
                "-W" | "--no-views" | "--escape-backslash" if !files => {
                    warnings.never(&format!("{setting}: {flag}"), "there are no dump files");
                }
                "-B" | "--database" | "-T" | "--tables-list" | "-f" | "--filter" => warnings.never(
                    &format!("{setting}: {flag}"),
                    "the block-allow-list alone says which tables are copied",
                ),
                _ if files => {
                    return Err(CodedError::new(
                        codes::CONFIG_VALUE_INVALID,
                        format!("`{setting}`: `{flag}` is not supported"),
                    )
                    .remedy(
                        "leave it out; supported with task-mode dump are -t, -r, -F, -s, --where, --filetype and --compress",
                    ));
                }
                _ => warnings.never(&format!("{setting}: {flag}"), "the argument is not known"),
            }
        }
        Ok(())
    }
}

fn unquote(word: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(args: &str, files: bool) -> (Result<DumpConfig, CodedError>, Vec<String>) {
        let mut warnings = Warnings::default();
        let mut config = DumpConfig { extra_args: args.to_owned(), ..DumpConfig::default() };
        let result = config.apply_extra_args("mydumpers.x", files, &mut warnings).map(|()| config);
        (result, warnings.into_vec())
    }

    #[test]
    fn a_dump_is_told_its_form() {
        let (config, warnings) = with(
            "--filetype csv --compress=zstd -F 8MB -r 5 -s 1000 --where \"id>1\" --consistency flush",
            true,
        );
        let config = config.unwrap();
        assert_eq!(config.file_type, DumpFileType::Csv);
        assert_eq!(config.compression, DumpCompression::Zstd);
        assert_eq!((config.chunk_filesize, config.rows, config.statement_size), (8 << 20, 5, 1000));
        assert_eq!(config.where_condition, "id>1");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn what_would_make_other_files_is_refused() {
        for args in [
            "--output-filename-template x",
            "--csv-separator ;",
            "--filetype parquet",
            "-m",
            "--compress lz4",
        ] {
            assert_eq!(with(args, true).0.unwrap_err().code, codes::CONFIG_VALUE_INVALID, "{args}");
            assert_eq!(with(args, false).1.len(), 1, "{args}");
        }
    }
}
