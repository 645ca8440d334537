//! Asks the kernel about the states that power cuts leave, as many as it takes.

use std::collections::HashSet;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Kernel, State, States};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::{Again, Scene};
use nandsim::{Chip, ContentId, Cut, Judge, Verdict, Walker, cuts_sampled};

use super::choice::{self, Extent, SEED};

/// Most cuts at random that are tried with one seed.
const SAMPLED: usize = 1_000;
/// Seeds after which one that leaves no state that is new is taken for the end.
const MANY_SEEDS: u64 = 50;
/// Of so many states with either tree, one is mounted for writing, too.
const WRITTEN: usize = 8;
/// Cases of one boot: they are all on its disk.
const BATCH: usize = 2_500;

/// States that are put through a second cut, and cuts in the recovery and in the update done again on each.
const TWICE: usize = 12;
const SECOND_CUTS: usize = 3;

/// Mounts of all campaigns of this process, and the seconds that they took the kernels.
static ALL: Mutex<(u32, f64)> = Mutex::new((0, 0.0));

/// Updates on one device.
pub(crate) struct Campaign<'k> {
    kind: String,
    kernel: &'k Kernel,
    device: Device,
    states: States,
    agreement: Agreement,
    asked: usize,
    done: Done,
}

/// What came of it so far.
#[derive(Default)]
struct Done {
    /// States with the old tree, and with the new one.
    old: usize,
    new: usize,
    /// Of these, left by a second cut.
    twice: usize,
    /// Mounted for writing as well.
    written: usize,
    mounts: u32,
    judging: f64,
    seconds: f64,
    spent: String,
}

/// A transaction that is being cut, and its trees.
struct Update<'s> {
    name: &'s str,
    old: Arc<Seen>,
    new: Arc<Seen>,
    /// Mounts still to ask for.
    wanted: u32,
    known: HashSet<ContentId>,
    /// Also asked, except about trees that take long to read.
    judge: Option<Judge>,
    point: CommitPoint,
}

impl<'k> Campaign<'k> {
    pub(crate) fn new(kind: &str, kernel: &'k Kernel, device: Device) -> Self {
        let (states, agreement) = (States::new(device), Agreement::new(device));
        Self { kind: kind.to_owned(), kernel, device, states, agreement, asked: 0, done: Done::default() }
    }

    /// Cuts a transaction: where it is certain to matter, then at random until there are so many mounts.
    pub(crate) fn add(&mut self, name: &str, scene: &Scene, mounts: u32, extent: Extent) -> Result<()> {
        let (old, new) = (Arc::new(Seen::on(&scene.before)?), Arc::new(Seen::on(&scene.after)?));
        ensure!(old != new, "{name} changes nothing");
        let certain = choice::certain(scene, [&old, &new], extent)?;
        let judge = if matches!(extent, Extent::CommitPoint(_)) { None } else { Some(scene.judge()?) };
        let mut update = Update { name, old, new, wanted: mounts, known: HashSet::new(), judge, point: scene.point };
        self.cut(&mut update, scene, SEED, certain.into_iter())?;
        if extent == Extent::Everything {
            self.cut_twice(&mut update, scene)?;
        }
        let mut seed = SEED;
        while update.wanted > 0 {
            let known = update.known.len();
            let sampled = cuts_sampled(&scene.trace, SAMPLED.min(update.wanted as usize), seed);
            self.cut(&mut update, scene, seed, sampled.into_iter())?;
            let fruitless = update.known.len() == known && seed > MANY_SEEDS;
            ensure!(!fruitless, "{name}: no other states are left, {} mounts are missing", update.wanted);
            seed += 1;
        }
        Ok(())
    }

    /// Asks about the states that these cuts leave and that are not known yet.
    fn cut(
        &mut self,
        update: &mut Update<'_>,
        scene: &Scene,
        seed: u64,
        cuts: impl Iterator<Item = Cut>,
    ) -> Result<()> {
        for (cut, chip) in Walker::new(scene.before.clone(), &scene.trace, seed, cuts) {
            if update.known.insert(chip.content_id()) {
                self.ask(update, &format!("{}/{seed}/{cut}", update.name), &chip)?;
            }
        }
        Ok(())
    }

    /// Asks about states that a second cut leaves, in the recovery from a first one or in the update done again.
    fn cut_twice(&mut self, update: &mut Update<'_>, scene: &Scene) -> Result<()> {
        let first = cuts_sampled(&scene.trace, TWICE, SEED);
        for (cut, chip) in Walker::new(scene.before.clone(), &scene.trace, SEED, first.into_iter()) {
            for (again, called) in [(Again::Recovery, "recovery"), (Again::Update, "direct")] {
                let trace = scene.again(&chip, again)?;
                let second = cuts_sampled(&trace, SECOND_CUTS, SEED);
                for (then, torn) in Walker::new(chip.clone(), &trace, SEED, second.into_iter()) {
                    if update.known.insert(torn.content_id()) {
                        self.done.twice += 1;
                        self.ask(update, &format!("{}/{SEED}/{cut}/{called}:{then}", update.name), &torn)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel, which must see what our reader sees; so must boot firmware, the kernel image included.
    fn ask(&mut self, update: &mut Update<'_>, name: &str, chip: &Chip) -> Result<()> {
        let seen = Seen::on(chip).with_context(|| format!("our reader fails at {name}"))?;
        if let Some(judge) = &mut update.judge {
            let judged = judge.verdicts(chip);
            judged.fine(update.point).map_err(|wrong| anyhow!("{name}: {wrong}"))?;
            let tree = if judged.library.with_summaries == Verdict::New { &update.new } else { &update.old };
            ensure!(
                seen == **tree,
                "{name}: {}, the kernel is to see\n{}",
                judged.listed(),
                tree.difference(&seen.lines)
            );
        }
        let (tree, count) = if seen == *update.old {
            (&update.old, &mut self.done.old)
        } else {
            ensure!(
                seen == *update.new,
                "{name}: our reader sees neither tree\n{}",
                update.old.difference(&seen.lines)
            );
            (&update.new, &mut self.done.new)
        };
        // The first one of each is written to in any case.
        let written = count.is_multiple_of(WRITTEN);
        *count += 1;
        let state = self.states.of(chip);
        self.case(Case::read_only, name.to_owned(), &state, tree);
        if written {
            self.case(Case::read_write, format!("{name}/rw"), &state, tree);
            self.done.written += 1;
        }
        update.wanted = update.wanted.saturating_sub(if written { 3 } else { 1 });
        if self.asked >= BATCH { self.judge() } else { Ok(()) }
    }

    fn case(&mut self, case: fn(String, State) -> Case, name: String, state: &State, tree: &Arc<Seen>) {
        self.agreement.add(case(name, state.clone()), tree);
        self.asked += 1;
    }

    /// Boots, and asks about all states so far.
    fn judge(&mut self) -> Result<()> {
        let agreement = std::mem::replace(&mut self.agreement, Agreement::new(self.device));
        (self.asked, self.states) = (0, States::new(self.device));
        let report = agreement.check(self.kernel)?;
        let done = &mut self.done;
        done.mounts += report.mounts;
        done.judging += report.judging_seconds;
        done.seconds += report.seconds;
        done.spent = report.spent;
        Ok(())
    }

    /// Asks about the last states and says what was done; fails if the kernel made fewer mounts than it should.
    pub(crate) fn finish(mut self, mounts: u32) -> Result<()> {
        self.judge()?;
        let Done { old, new, twice, written, mounts: made, judging, seconds, spent } = &self.done;
        let (all, took) = {
            let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            *all = (all.0 + made, all.1 + judging);
            *all
        };
        println!(
            "{} on Linux {}: {} states ({old} old, {new} new, {twice} after two cuts), {written} of them written to as well: {made} mounts, {:.0} a \
             second, {seconds:.0} s ({spent}); all so far: {all} mounts, {:.0} a second",
            self.kind,
            self.kernel.version(),
            old + new,
            f64::from(*made) / judging,
            f64::from(all) / took
        );
        // One case by name is not a campaign.
        let whole = env::var_os("KERNEL_CASE").is_none();
        let enough = *made >= mounts && written * 10 >= old + new && *old > 0 && *new > 0;
        ensure!(enough || !whole, "{}: that is too few", self.kind);
        Ok(())
    }
}
