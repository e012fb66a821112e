//! How to reach a server: `from` of a source, `target-database` of a task.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::secret::Secret;

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
