//! jffs2-mkimage.
