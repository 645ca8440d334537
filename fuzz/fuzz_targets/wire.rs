//! Node and ACL parsers on any bytes; what parses comes out again as the same fields.
#![no_main]

use jffs2_tx::acl;
use jffs2_tx::wire::{Dirent, Endian, Header, Inode, Marker, Summary, Xattr, Xref};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for endian in [Endian::Little, Endian::Big] {
        let _ = (Header::parse(endian, data), Summary::parse(endian, data), Summary::locate(endian, data));
        let _ = (Xattr::parse(endian, data), Xattr::identity(endian, data), Xref::parse(endian, data));
        if let Some(shown) = acl::shown(endian, data) {
            assert_eq!(acl::stored(endian, &shown).as_deref(), Some(data));
        }
        let mut out = Vec::new();
        if let Ok(dirent) = Dirent::parse(endian, data) {
            if dirent.name.len() <= 254 {
                dirent.emit(endian, &mut out);
                assert_eq!(Dirent::parse(endian, &out), Ok(dirent));
            }
        }
        out.clear();
        if let Ok(marker) = Marker::parse(endian, data) {
            if marker.label.len() <= 64 {
                marker.emit(endian, &mut out);
                assert_eq!(Marker::parse(endian, &out), Ok(marker));
            }
        }
        if let Ok(inode) = Inode::parse(endian, data) {
            let _ = inode.data_is_good(data);
        }
    }
});
