//! TLS towards servers, from an endpoint's `security:`.
//!
//! The server's certificate must be signed by the given authority; its host name is not compared, as servers
//! make certificates without one for themselves. Without an authority there would be encryption but no proof of
//! whom one talks to, so that is refused rather than done silently.

use std::sync::Arc;

use dmnode_model::{Endpoint, SecurityConfig};
use mysql_async::{ClientIdentity, SslOpts};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::error::{SqlError, SqlErrorKind};

/// TLS settings of a connection of our own.
pub(crate) struct ClientTls {
    pub config: Arc<ClientConfig>,
}

/// PEM texts of authority, certificate and key.
struct Material {
    ca: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

fn refused(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlErrorKind::Configuration, message)
}

/// The server does not offer TLS.
pub(crate) fn not_offered() -> SqlError {
    refused("`security` is set, but the server does not offer TLS; it is not spoken to in plain")
}

/// `None` when nothing of `security:` is filled in.
fn material(security: Option<&SecurityConfig>) -> Result<Option<Material>, SqlError> {
    let Some(security) = security else { return Ok(None) };
    let read = |what: &str, path: &str, bytes: Option<&[u8]>| -> Result<Option<Vec<u8>>, SqlError> {
        match (bytes, path) {
            (Some(bytes), _) if !bytes.is_empty() => Ok(Some(bytes.to_vec())),
            (_, "") => Ok(None),
            (_, path) => std::fs::read(path)
                .map(Some)
                .map_err(|error| refused(format!("{what} file {path} cannot be read: {error}"))),
        }
    };
    let key_bytes = security.ssl_key_bytes.as_ref().map(|key| key.expose().as_bytes());
    let ca = read("ssl-ca", &security.ssl_ca, security.ssl_ca_bytes.as_deref())?;
    let cert = read("ssl-cert", &security.ssl_cert, security.ssl_cert_bytes.as_deref())?;
    let key = read("ssl-key", &security.ssl_key, key_bytes)?;
    if !security.cert_allowed_cn.is_empty() {
        return Err(refused("cert-allowed-cn of a database connection is not supported yet"));
    }
    let identity = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        _ => return Err(refused("ssl-cert and ssl-key must be given together")),
    };
    match (ca, identity) {
        (None, None) => Ok(None),
        (Some(ca), identity) => Ok(Some(Material { ca, identity })),
        (None, Some(_)) => Err(refused(
            "ssl-cert without ssl-ca is not supported yet: give the authority that signed the server's certificate",
        )),
    }
}

/// What the driver needs.
pub(crate) fn driver_options(endpoint: &Endpoint) -> Result<Option<SslOpts>, SqlError> {
    // The same checks for both ways, so that both refuse the same.
    client_config(endpoint)?;
    Ok(material(endpoint.security.as_ref())?.map(|material| {
        SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(vec![material.ca.into()])
            .with_danger_skip_domain_validation(true)
            .with_client_identity(
                material.identity.map(|(cert, key)| ClientIdentity::new(cert.into(), key.into())),
            )
    }))
}

/// What a connection of our own needs.
pub(crate) fn client_config(endpoint: &Endpoint) -> Result<Option<ClientTls>, SqlError> {
    let Some(material) = material(endpoint.security.as_ref())? else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&material.ca) {
        let certificate = certificate.map_err(|error| refused(format!("ssl-ca: {error}")))?;
        roots.add(certificate).map_err(|error| refused(format!("ssl-ca: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refused("ssl-ca has no certificate in PEM form"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| refused(format!("ssl-ca: {error}")))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AuthorityOnly { inner }));
    let config = match material.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
            let chain = chain.map_err(|error| refused(format!("ssl-cert: {error}")))?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|_| refused("ssl-key is not a key in PEM form"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| refused(format!("ssl-cert: {error}")))?
        }
    };
    Ok(Some(ClientTls { config: Arc::new(config) }))
}

/// The name that is sent to the server.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, SqlError> {
    ServerName::try_from(host.to_owned()).map_err(|error| refused(format!("host {host}: {error}")))
}

/// Checks who signed the certificate, not which host it is for.
#[derive(Debug)]
struct AuthorityOnly {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AuthorityOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
