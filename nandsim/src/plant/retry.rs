//! Code that makes the update, or makes it again, and does it wrong.

use super::Mistake::Run;
use super::Plant;
use super::driver::{Driver, Habit};
use super::scene::{NAND_LARGER, NAND_SUMMARY, NOR_HEAD};
use crate::harness::Done;
use crate::trace::Recorder;
use crate::update::Update;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "pages-out-of-order",
        what: "the pages of a NAND eraseblock are programmed from the last to the first",
        scene: NAND_LARGER,
        mistake: Run(|update, flash, attempt| run(update, flash, attempt, Habit::PagesBackwards)),
    },
    Plant {
        name: "page-programmed-twice",
        what: "a NAND page is programmed a second time, with the same",
        scene: NAND_SUMMARY,
        mistake: Run(|update, flash, attempt| run(update, flash, attempt, Habit::Twice)),
    },
    Plant {
        name: "programmed-over-cells",
        what: "an eraseblock with a cleanmarker is programmed without an erase",
        scene: NOR_HEAD,
        mistake: Run(|update, flash, attempt| run(update, flash, attempt, Habit::NeverErases)),
    },
    Plant {
        name: "erase-ignored",
        what: "nobody notices that an erase did nothing: the commit block keeps the cleanmarker in its OOB area",
        scene: NAND_SUMMARY,
        mistake: Run(|update, flash, attempt| run(update, flash, attempt, Habit::NeverErases)),
    },
    Plant {
        name: "retry-trusts-payload",
        what: "the update done again takes the payload for written, which recovery has erased",
        scene: NAND_SUMMARY,
        mistake: Run(|update, flash, attempt| match attempt {
            0 => Ok(update.apply(flash, 0).map(drop)?),
            _ => run(update, flash, attempt, Habit::SkipsPayload),
        }),
    },
    Plant {
        name: "retry-does-nothing",
        what: "the update is not done again: it was begun, so it counts as done",
        scene: NOR_HEAD,
        mistake: Run(|update, flash, attempt| match attempt {
            0 => Ok(update.apply(flash, 0).map(drop)?),
            _ => Ok(()),
        }),
    },
];

fn run(update: &Update, flash: &mut Recorder, attempt: u8, habit: Habit) -> Done {
    Ok(update.apply(&mut Driver::new(flash, habit), attempt).map(drop)?)
}
