//! How to reach a server: `from` of a source, `target-database` of a task.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::fields::Fields;
use super::passwords::secret_text;
use super::warnings::Warnings;
use super::yaml::{Kind, refuse};
use crate::error::CodedError;
use crate::secret::{Secret, SecretKey, decrypt_or_plain};

/// Address, account and session of a server.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password, decrypted.
    pub password: Secret,
    /// Session variables, names in lower case.
    pub session: BTreeMap<String, String>,
    /// TLS, if asked for.
    pub security: Option<SecurityConfig>,
}

/// TLS material. Inline content goes before base64, base64 before files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SecurityConfig {
    /// File with the authority's certificate.
    pub ssl_ca: String,
    /// File with our certificate.
    pub ssl_cert: String,
    /// File with our key.
    pub ssl_key: String,
    /// Common names the server may have; empty for any.
    pub cert_allowed_cn: Vec<String>,
    /// The authority's certificate itself.
    pub ssl_ca_bytes: Option<Vec<u8>>,
    /// Our certificate itself.
    pub ssl_cert_bytes: Option<Vec<u8>>,
    /// Our key itself.
    pub ssl_key_bytes: Option<Secret>,
}

impl Endpoint {
    pub(super) fn read(
        mut fields: Fields<'_>,
        key: Option<&SecretKey>,
        path: &str,
        warnings: &mut Warnings,
    ) -> Result<Self, CodedError> {
        let mut endpoint = Endpoint {
            host: fields.text("host")?,
            port: fields.int("port", 0)?,
            user: fields.text("user")?,
            password: Secret::new(decrypt_or_plain(key, &fields.text("password")?)),
            ..Endpoint::default()
        };
        if fields.has("max-allowed-packet") {
            warnings.never(&format!("{path}.max-allowed-packet"), "the server is asked for it");
        }
        if let Some(session) = fields.map("session")? {
            for (name, value) in session.into_texts()? {
                endpoint.session.insert(name.to_lowercase(), value);
            }
        }
        if let Some(security) = fields.map("security")? {
            endpoint.security = SecurityConfig::read(security, key)?;
        }
        fields.finish()?;
        Ok(endpoint)
    }

    /// Whether the session switches foreign key checks on.
    pub fn has_foreign_key_checks(&self) -> bool {
        self.session.get("foreign_key_checks").is_some_and(|value| {
            let value = value.trim().trim_matches(['\'', '"']).trim();
            value == "1" || value.eq_ignore_ascii_case("on") || value.eq_ignore_ascii_case("true")
        })
    }
}

impl SecurityConfig {
    /// `None` when nothing is set: an empty block does not ask for TLS.
    fn read(mut fields: Fields<'_>, key: Option<&SecretKey>) -> Result<Option<Self>, CodedError> {
        let security = SecurityConfig {
            ssl_ca: fields.text("ssl-ca")?,
            ssl_cert: fields.text("ssl-cert")?,
            ssl_key: fields.text("ssl-key")?,
            cert_allowed_cn: fields.texts("cert-allowed-cn")?,
            ssl_ca_bytes: inline(&mut fields, "ssl-ca-bytes", "ssl-ca-base64", None)?,
            ssl_cert_bytes: inline(&mut fields, "ssl-cert-bytes", "ssl-cert-base64", None)?,
            ssl_key_bytes: match inline(&mut fields, "ssl-key-bytes", "ssl-key-base64", key)? {
                Some(bytes) => Some(Secret::new(String::from_utf8(bytes).map_err(|_| {
                    refuse("target-database.security or from.security", "the key is no PEM text")
                })?)),
                None => None,
            },
        };
        fields.finish()?;
        Ok((security != SecurityConfig::default()).then_some(security))
    }
}

/// Inline content: bytes as text or as a list of numbers, else base64. An encrypted one is decrypted.
fn inline(
    fields: &mut Fields<'_>,
    bytes_key: &'static str,
    base64_key: &'static str,
    key: Option<&SecretKey>,
) -> Result<Option<Vec<u8>>, CodedError> {
    let bytes = match fields.node(bytes_key) {
        None => None,
        Some(node) => match (&node.kind, secret_text(node)) {
            (_, Some(text)) => Some(decrypt_or_plain(key, &text).into_bytes()),
            (Kind::List(items), None) => {
                let bytes: Option<Vec<u8>> = items.iter().map(|item| item.text()?.parse().ok()).collect();
                Some(
                    bytes
                        .ok_or_else(|| refuse(node.place(), format!("`{bytes_key}` is no list of bytes")))?,
                )
            }
            (_, None) => return Err(refuse(node.place(), format!("`{bytes_key}` is {}", node.describe()))),
        },
    };
    let base64 = fields.opt_text(base64_key)?;
    if bytes.as_ref().is_some_and(|bytes| !bytes.is_empty()) {
        return Ok(bytes);
    }
    match base64.map(|text| decrypt_or_plain(key, &text)) {
        Some(text) if !text.is_empty() => {
            let place = fields.place(base64_key).unwrap_or_default();
            let decoded = BASE64.decode(text.trim());
            decoded.map(Some).map_err(|_| refuse(place, format!("`{base64_key}` is not base64")))
        }
        _ => Ok(None),
    }
}
