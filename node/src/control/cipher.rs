//! `encrypt`, `decrypt`.

use dmnode_model::api::{DecryptRequest, EncryptRequest};
use dmnode_model::status::{DecryptResponse, EncryptResponse};

use super::Control;

const NO_KEY: &str = "the cluster has no key for passwords: put 64 hexadecimal digits into a file, such as \
                      `openssl rand -hex 32 > dmnode.key`, set secret-key-path to it on every node, and restart them";

impl Control {
    /// Encrypts a password.
    pub fn encrypt(&self, request: &EncryptRequest) -> EncryptResponse {
        match &self.settings.secret_key {
            Some(key) => EncryptResponse {
                result: true,
                msg: String::new(),
                ciphertext: key.encrypt(&request.plaintext),
            },
            None => EncryptResponse { result: false, msg: NO_KEY.to_owned(), ciphertext: String::new() },
        }
    }

    /// Decrypts a password.
    pub fn decrypt(&self, request: &DecryptRequest) -> DecryptResponse {
        let failed = |msg: String| DecryptResponse { result: false, msg, plaintext: String::new() };
        match &self.settings.secret_key {
            None => failed(NO_KEY.to_owned()),
            Some(key) => match key.decrypt(&request.ciphertext) {
                Ok(plaintext) => DecryptResponse { result: true, msg: String::new(), plaintext },
                Err(err) => failed(err.to_string()),
            },
        }
    }
}
