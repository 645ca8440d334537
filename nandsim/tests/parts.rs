//! Updates on the first eraseblocks of real parts survive.

use jffs2_tx::flash::FlashKind;
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::CommitPoint::{self, Dirent, Summary};
use jffs2_tx::wire::Endian::{self, Big, Little};
use nandsim::{
    PARTS, Part, ProgramDamage, Sample, Tear, Torture, TortureError, Update, cuts_all, sample, sample_large,
    sample_small_change,
};

mod common;

use common::{SEED, all_survive, sample_survives};

/// The update of a sample on the first eraseblocks of a part.
fn recorded(
    part: &Part,
    endian: Endian,
    Sample { old, new }: Sample,
    point: Option<CommitPoint>,
) -> Result<Torture, TortureError> {
    let shape = part.shape(None, endian).unwrap();
    let image = shape.image(&old).unwrap();
    let geometry = shape.geometry_for(image.len(), shape.image(&new).unwrap().len()).unwrap();
    let start = shape.flashed_on(part.chip(geometry, SEED).unwrap(), &image).unwrap();
    let options = TxOptions { label: "part".into(), commit_point: point, txid: [7; 16], ..TxOptions::default() };
    Torture::record(start, Update::new(endian, new, options), SEED)
}

fn mlc() -> &'static Part {
    Part::by_name("K9GAG08U0M").unwrap()
}

#[test]
fn a_small_change_survives_on_every_part_but_mlc() {
    for part in PARTS.iter().filter(|part| part.name != mlc().name) {
        // DESIGN.md, section 5: where zeros cannot be programmed first, erasing a leftover summary needs a kind erase.
        let point = if part.write_size == 16 { Some(Dirent) } else { None };
        let torture = recorded(part, Big, sample_small_change(), point).unwrap();
        assert_eq!(*torture.start.rules(), part.rules);
        sample_survives(&torture, if part.kind == FlashKind::Nor { 1000 } else { 4000 });
    }
}

/// A cut in the later page of a pair destroys the earlier one; a page takes one program, its OOB area included. Linux
/// mounts no JFFS2 on MLC: the readers here stand for bootloaders and for kernels that are told that it is SLC.
#[test]
fn mlc_survives_all_cuts() {
    // A small change programs no later page of a pair.
    all_survive(&recorded(mlc(), Big, sample_small_change(), Some(Dirent)).unwrap());
    for (sample, point) in [(sample(), Summary), (sample_large(), Summary), (sample_large(), Dirent)] {
        let torture = recorded(mlc(), Little, sample, Some(point)).unwrap();
        assert!(pairs(&torture) >= 4, "{} pairs", pairs(&torture));
        all_survive(&torture);
    }
}

/// Cuts that leave the later page of a pair complete and the earlier one destroyed.
fn pairs(torture: &Torture) -> usize {
    let cuts = cuts_all(&torture.trace);
    cuts.filter(|cut| matches!(cut.tear, Tear::Program { damage: ProgramDamage::PairedDone, .. })).count()
}
