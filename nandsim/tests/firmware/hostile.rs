//! Nothing on a flash makes the reader panic or run away.

use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::firmware::{ByteOrder, Firmware, Part, RawBlock};
use nandsim::{Rng, sample};

use crate::common::nor;

const ROUNDS: u64 = 60;

/// Lists and reads all that there is.
fn read_all(part: &Part, image: &[u8], block_len: usize) {
    let blocks: Vec<_> = image.chunks(block_len).map(|cells| RawBlock { cells, unreadable: Vec::new() }).collect();
    for firmware in Firmware::ALL {
        let Ok(files) = firmware.mount(part, &blocks) else { continue };
        for path in files.tree().keys() {
            let _ = files.read(path);
        }
    }
}

fn images() -> impl Iterator<Item = (Part, Vec<u8>)> {
    [(Little, ByteOrder::Little), (Big, ByteOrder::Big)].into_iter().map(|(endian, order)| {
        let image = nor(64, 1, endian).image(&sample().old).unwrap();
        (Part { order, nand: false, page: 1 }, image)
    })
}

#[test]
fn flipped_bits() {
    for (part, image) in images() {
        for seed in 0..ROUNDS {
            let mut flips = vec![0; image.len()];
            // From a flip in 2^4 bits to one in 2^15.
            Rng::keyed(&[seed]).fill_sparse(&mut flips, 4 + (seed % 12) as u32);
            let flipped: Vec<u8> = image.iter().zip(flips).map(|(byte, flip)| byte ^ flip).collect();
            read_all(&part, &flipped, 64 << 10);
        }
    }
}

/// Every CRC is made right again, so that the flips reach the fields.
#[test]
fn flipped_bits_behind_good_crcs() {
    for (part, image) in images() {
        let word = |bytes: &mut [u8], at: usize, value: u32| {
            let value = if part.order == ByteOrder::Little { value.to_le_bytes() } else { value.to_be_bytes() };
            bytes[at..at + 4].copy_from_slice(&value);
        };
        let crc = |bytes: &[u8]| {
            let mut hasher = crc32fast::Hasher::new_with_initial(!0);
            hasher.update(bytes);
            !hasher.finalize()
        };
        let magic = if part.order == ByteOrder::Little { [0x85, 0x19] } else { [0x19, 0x85] };
        let nodes: Vec<usize> = (0..image.len() - 68).step_by(4).filter(|&at| image[at..at + 2] == magic).collect();
        assert!(nodes.len() > 50);
        for seed in 0..ROUNDS {
            let (mut rng, mut flipped) = (Rng::keyed(&[seed]), image.clone());
            for _ in 0..20 {
                let node = &mut flipped[nodes[rng.below(nodes.len() as u64) as usize]..];
                node[4 + rng.below(56) as usize] ^= 1 << rng.below(8);
                let (header, inode, dirent) = (crc(&node[..8]), crc(&node[..60]), crc(&node[..32]));
                word(node, 8, header);
                if node[2] == 2 || node[3] == 2 {
                    word(node, 64, inode);
                } else {
                    word(node, 32, dirent);
                }
            }
            read_all(&part, &flipped, 64 << 10);
        }
    }
}

#[test]
fn odd_pieces() {
    for (part, image) in images() {
        for len in [1, 3, 11, 13, 67, 69, 255, 257, 1023, 4097, 65_535] {
            read_all(&part, &image[..image.len().min(300 * len)], len);
            read_all(&part, image.get(len..).unwrap_or_default(), 64 << 10);
        }
    }
}
