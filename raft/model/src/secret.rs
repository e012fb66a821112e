//! Passwords and the key that encrypts them.
//!
//! A [`Secret`] never shows itself: `Debug`, `Display` and `Serialize` give `******`. The only way to the
//! text is [`Secret::expose`]. Cipher texts are DM's: base64 of the initialisation vector, `@` and
//! AES-256-CFB of the plain text, so that files encrypted for DM with the same key work here.

use std::fmt;

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cfb_mode::cipher::{AsyncStreamCipher as _, KeyIvInit as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codes;
use crate::error::CodedError;

/// What is shown in place of a secret.
pub const MASK: &str = "******";

const IV_LENGTH: usize = 16;
const SEPARATOR: u8 = b'@';

/// A password. Shows itself as `******` everywhere; [`Secret::expose`] gives the text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text. Never log or serialise the result.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// The 32 byte key of the file that `secret-key-path` names.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl SecretKey {
    /// Reads the text of a key file: 64 hexadecimal digits, blanks around them ignored.
    pub fn from_hex(text: &str) -> Result<Self, CodedError> {
        let text = text.trim().as_bytes();
        let bad = |reason: String| {
            CodedError::new(
                codes::CONFIG_SECRET_KEY_PATH,
                format!("invalid secret key path or content: {reason}"),
            )
            .remedy("make one with `openssl rand -hex 32`; the same file must be on every node")
        };
        if text.len() != 64 {
            return Err(bad(format!("expected 64 hexadecimal digits, found {} characters", text.len())));
        }
        let mut key = [0u8; 32];
        for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            match (digit(pair[0]), digit(pair[1])) {
                // Both digits are below 16, so the value fits.
                (Some(high), Some(low)) => *byte = (high * 16 + low) as u8,
                _ => return Err(bad("a character is not a hexadecimal digit".to_owned())),
            }
        }
        Ok(Self(key))
    }

    /// A key from its bytes.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Encrypts with a fresh random initialisation vector.
    pub fn encrypt(&self, plain: &str) -> String {
        let iv: [u8; IV_LENGTH] = rand::random();
        let mut data = plain.as_bytes().to_vec();
        cfb_mode::Encryptor::<Aes256>::new((&self.0).into(), (&iv).into()).encrypt(&mut data);
        let mut out = Vec::with_capacity(IV_LENGTH + 1 + data.len());
        out.extend_from_slice(&iv);
        out.push(SEPARATOR);
        out.append(&mut data);
        BASE64.encode(out)
    }

    /// Decrypts a text made by [`SecretKey::encrypt`] or by DM.
    pub fn decrypt(&self, cipher: &str) -> Result<String, CodedError> {
        let mut data = BASE64.decode(cipher.trim()).map_err(|err| {
            // The text may be a plain password: it must not become part of the message.
            CodedError::new(codes::ENC_CIPHER_TEXT_BASE64_DECODE, "decode base64 encoded password").cause(err)
        })?;
        if data.len() < IV_LENGTH + 1 {
            return Err(CodedError::new(
                codes::CIPHERTEXT_LEN_NOT_VALID,
                format!(
                    "ciphertext's length should be greater than {}, but got {} not valid",
                    IV_LENGTH,
                    data.len()
                ),
            ));
        }
        let not_valid =
            || CodedError::new(codes::CIPHERTEXT_CONTEXT_NOT_VALID, "ciphertext's content not valid");
        if data[IV_LENGTH] != SEPARATOR {
            return Err(not_valid());
        }
        let mut plain = data.split_off(IV_LENGTH + 1);
        let mut iv = [0u8; IV_LENGTH];
        iv.copy_from_slice(&data[..IV_LENGTH]);
        cfb_mode::Decryptor::<Aes256>::new((&self.0).into(), (&iv).into()).decrypt(&mut plain);
        // CFB has no integrity check; text that is not UTF-8 was certainly made with another key.
        String::from_utf8(plain).map_err(|_| not_valid().remedy("was it encrypted with another key?"))
    }

    /// The decrypted text, or the text itself when it is no cipher text of this key.
    pub fn decrypt_or_plain(&self, text: &str) -> String {
        self.decrypt(text).unwrap_or_else(|_| text.to_owned())
    }
}

/// [`SecretKey::decrypt_or_plain`] where a key may be missing: then the text is plain.
pub fn decrypt_or_plain(key: Option<&SecretKey>, text: &str) -> String {
    match key {
        Some(key) => key.decrypt_or_plain(text),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_hex(&format!("  {}\n", "0123456789abcdef".repeat(4))).unwrap()
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "****** ******");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"******\"");
        assert_eq!(format!("{:?}", key()), "******");
    }

    #[test]
    fn decrypts_a_text_made_by_openssl() {
        // printf 'hello, dm' | openssl enc -aes-256-cfb -K <key> -iv 000102..0f, then base64(iv '@' cipher).
        let plain = "hello, dm";
        let cipher = "AAECAwQFBgcICQoLDA0OD0BfBtTZz0X5ZgI=";
        assert_eq!(key().decrypt(cipher).unwrap(), plain);
    }

    #[test]
    fn bad_cipher_texts_have_dms_codes() {
        assert_eq!(key().decrypt("not base64 !").unwrap_err().code, 11050);
        assert_eq!(key().decrypt("YWJj").unwrap_err().code, 11047);
        assert_eq!(key().decrypt(&BASE64.encode([7u8; 40])).unwrap_err().code, 11048);
        assert_eq!(SecretKey::from_hex("00").unwrap_err().code, 20067);
        assert_eq!(SecretKey::from_hex(&"zz".repeat(32)).unwrap_err().code, 20067);
        let message = key().decrypt("s3cret pass!").unwrap_err().to_string();
        assert!(!message.contains("s3cret"), "{message}");
    }

    proptest! {
        #[test]
        fn encrypt_then_decrypt_gives_the_text(plain in "\\PC{0,64}") {
            let cipher = key().encrypt(&plain);
            prop_assert_eq!(key().decrypt(&cipher).unwrap(), plain.clone());
            prop_assert_ne!(cipher, key().encrypt(&plain));
        }

        #[test]
        fn any_text_is_decrypted_or_kept(text in "\\PC{0,80}") {
            let _ = key().decrypt_or_plain(&text);
            prop_assert_eq!(decrypt_or_plain(None, &text), text);
        }
    }
}
