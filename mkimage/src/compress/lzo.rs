//! LZO1X by lzokay.

use lzokay::compress::{Dict, compress_no_alloc};

use super::Codec;

pub(super) struct Lzo(Box<Dict>);

impl Lzo {
    pub(super) fn new() -> Self {
        Self(Dict::new())
    }
}

impl Codec for Lzo {
    fn encode(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize> {
        compress_no_alloc(data, out, &mut self.0).ok()
    }
}
