//! One file of a dump: compressed on the way, under a temporary name until it is whole and on the disk.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dmnode_model::codes;
use dmnode_model::config::DumpCompression;
use dmnode_model::error::CodedError;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::layout::compressed;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 * 1024;

enum Encoder {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(compression: DumpCompression) -> io::Result<Self> {
        Ok(match compression {
            DumpCompression::None => Self::Plain(Vec::new()),
            DumpCompression::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(6))),
            DumpCompression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3)?),
            DumpCompression::Snappy => Self::Snappy(Box::new(snap::write::FrameEncoder::new(Vec::new()))),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<&mut Vec<u8>> {
        Ok(match self {
            Self::Plain(out) => {
                out.extend_from_slice(bytes);
                out
            }
            Self::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
            Self::Snappy(encoder) => {
                encoder.write_all(bytes)?;
                encoder.get_mut()
            }
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Snappy(encoder) => encoder.into_inner().map_err(|err| err.into_error()),
        }
    }
}

/// Where the files of one generation of a dump go to.
pub(super) struct Place {
    pub path: PathBuf,
    pub compression: DumpCompression,
    /// Ends the names of this generation's files that are not whole.
    pub temporary: String,
    written: Mutex<BTreeSet<String>>,
}

impl Place {
    pub fn new(path: PathBuf, compression: DumpCompression, temporary: String) -> Self {
        Self { path, compression, temporary, written: Mutex::new(BTreeSet::new()) }
    }

    /// The names of the files that are whole.
    pub fn written(&self) -> BTreeSet<String> {
        self.written.lock().clone()
    }
}

/// A file that is being written.
pub(super) struct Output {
    name: String,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    encoder: Encoder,
    /// Bytes before compression.
    pub size: u64,
}

impl Output {
    /// Begins a file; the compression adds its own end to the name.
    pub async fn create(place: &Place, name: &str) -> Result<Self, CodedError> {
        let name = format!("{name}{}", compressed(place.compression));
        let path = place.path.join(&name);
        let temporary = place.path.join(format!("{name}{}", place.temporary));
        let file = File::create(&temporary).await.map_err(|err| failed(&temporary, &err))?;
        let encoder = Encoder::new(place.compression).map_err(|err| failed(&path, &err))?;
        Ok(Self { name, path, temporary, file, encoder, size: 0 })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), CodedError> {
        self.size += bytes.len() as u64;
        let out = self.encoder.write(bytes).map_err(|err| failed(&self.path, &err))?;
        if out.len() >= BUFFER_BYTES {
            self.file.write_all(out).await.map_err(|err| failed(&self.path, &err))?;
            out.clear();
        }
        Ok(())
    }

    /// The file gets its name when it is whole and on the disk.
    pub async fn finish(self, place: &Place) -> Result<(), CodedError> {
        let Self { name, path, temporary, mut file, encoder, .. } = self;
        let failed = |err: io::Error| failed(&path, &err);
        let rest = encoder.finish().map_err(failed)?;
        file.write_all(&rest).await.map_err(failed)?;
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        drop(file);
        tokio::fs::rename(&temporary, &path).await.map_err(failed)?;
        place.written.lock().insert(name);
        Ok(())
    }
}

/// Writes a small file.
pub(super) async fn write_file(place: &Place, name: &str, bytes: &[u8]) -> Result<(), CodedError> {
    let mut output = Output::create(place, name).await?;
    output.write(bytes).await?;
    output.finish(place).await
}

/// A file cannot be written.
pub(super) fn failed(path: &Path, error: &io::Error) -> CodedError {
    CodedError::new(codes::DUMP_WRITE, "a file of the dump cannot be written")
        .object(path.display())
        .cause(error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn every_compression_can_be_undone() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for compression in
            [DumpCompression::None, DumpCompression::Gzip, DumpCompression::Zstd, DumpCompression::Snappy]
        {
            let place = Place::new(dir.path().to_owned(), compression, ".x.tmp".to_owned());
            let mut output = Output::create(&place, "t.sql").await.unwrap();
            for part in bytes.chunks(333_333) {
                output.write(part).await.unwrap();
            }
            let path = output.path.clone();
            assert!(!path.exists(), "not before it is whole");
            output.finish(&place).await.unwrap();
            assert_eq!(place.written().len(), 1);
            let file = std::fs::File::open(&path).unwrap();
            let mut reader: Box<dyn Read> = match compression {
                DumpCompression::None => Box::new(file),
                DumpCompression::Gzip => Box::new(flate2::read::GzDecoder::new(file)),
                DumpCompression::Zstd => Box::new(zstd::stream::read::Decoder::new(file).unwrap()),
                DumpCompression::Snappy => Box::new(snap::read::FrameDecoder::new(file)),
            };
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{compression:?}");
        }
    }
}
