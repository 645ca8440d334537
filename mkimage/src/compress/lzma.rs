//! LZMA as OpenWrt's Linux reads it, by lzma-rust2: a raw stream without header and end mark, all parameters fixed.

use std::io::Write;

use lzma_rust2::{LzmaOptions, LzmaWriter};

use super::Codec;

/// How far back a match may reach, bytes.
const DICTIONARY: u32 = 0x2000;
/// Of the presets, the one that searches longest.
const PRESET: u32 = 9;

pub(super) struct Lzma(LzmaOptions);

impl Lzma {
    pub(super) fn new() -> Self {
        Self(LzmaOptions { lc: 0, lp: 0, pb: 0, dict_size: DICTIONARY, ..LzmaOptions::with_preset(PRESET) })
    }
}

impl Codec for Lzma {
    fn encode(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize> {
        let room = out.len();
        let mut writer = LzmaWriter::new_no_header(out, &self.0, false).ok()?;
        writer.write_all(data).ok()?;
        let unused = writer.finish().ok()?;
        Some(room - unused.len())
    }
}
