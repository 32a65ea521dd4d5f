//! Files in whatever charset, read as UTF-8 while they are read.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{CoderResult, Decoder, Encoding};

/// How many bytes are decoded at once.
const PIECE_BYTES: usize = 32 * 1_024;

/// `reader` as UTF-8, if it begins with a mark that says how, or if `must` be decoded what was `declared` for it; and
/// whether it was. Else as it is, without the mark of UTF-8.
pub(super) fn decoded<'a>(
    mut reader: impl BufRead + Send + 'a,
    declared: Option<&'static Encoding>,
    must: impl Fn(&'static Encoding) -> bool,
) -> (Box<dyn BufRead + Send + 'a>, bool) {
    // An error is met again by whoever reads on.
    let marked = reader.fill_buf().ok().and_then(Encoding::for_bom);
    if let Some((encoding, bytes)) = marked {
        reader.consume(bytes);
        if encoding == encoding_rs::UTF_8 {
            return (Box::new(reader), false);
        }
    }
    let encoding = marked.map(|(encoding, _)| encoding);
    match encoding.or(declared).filter(|encoding| must(encoding)) {
        Some(encoding) => {
            let decoding = Decoding {
                reader,
                decoder: encoding.new_decoder_without_bom_handling(),
                ended: false,
            };
            (
                Box::new(BufReader::with_capacity(PIECE_BYTES, decoding)),
                true,
            )
        }
        None => (Box::new(reader), false),
    }
}

struct Decoding<R> {
    reader: R,
    decoder: Decoder,
    ended: bool,
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let source = self.reader.fill_buf()?;
            let last = source.is_empty();
            let (result, read, written, _replaced) = self.decoder.decode_to_utf8(source, out, last);
            self.reader.consume(read);
            self.ended = last && result == CoderResult::InputEmpty;
            if written > 0 {
                return Ok(written);
            }
            if read == 0 && !last {
                return Err(io::Error::other("no room to decode a character"));
            }
        }
        Ok(0)
    }
}
