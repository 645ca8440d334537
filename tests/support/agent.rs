//! The command line as an update agent in the guest: what it updates between, and how its work is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use jffs2_tx::source::SourceTree;
use serde_json::Value;

use crate::kernel::{At, Device, Kernel, Played, Scenario};
use crate::ours::Seen;
use crate::scene::chip_with;

/// The first MTD device of the guest.
pub const MTD: &str = "/dev/mtd0";
/// The same for mount(2).
pub const MTD_SOURCE: &str = "mtd0";

const TRACING: &str = "/sys/kernel/tracing";
/// Eraseblocks by their offset, and who erases.
const ERASES: &str = "hist:keys=addr,common_pid.execname:size=16384";

/// A version of a root, on a flash and as a directory of the guest.
#[derive(Debug, Clone)]
pub struct Version {
    /// What the whole flash holds, free eraseblocks included.
    pub image: Arc<[u8]>,
    /// The tree.
    pub seen: Arc<Seen>,
    /// Where in the guest [`Version::lay_out`] puts it.
    pub dir: String,
}

impl Version {
    /// A tree on a device.
    pub fn new(name: &str, device: Device, tree: &SourceTree) -> Result<Self> {
        let chip = chip_with(device, tree, true)?;
        Ok(Self { image: chip.image().into(), seen: Arc::new(Seen::on(&chip)?), dir: format!("/tmp/{name}") })
    }

    /// The two versions of nandsim's sample.
    pub fn of_sample(device: Device) -> Result<[Self; 2]> {
        let sample = nandsim::sample();
        Ok([Self::new("old", device, &sample.old)?, Self::new("new", device, &sample.new)?])
    }

    /// Makes it a directory of the guest.
    pub fn lay_out(&self, scenario: &mut Scenario) -> At {
        let image = self.put(scenario);
        scenario.run(&["extract", &image, &self.dir])
    }

    /// Makes it an archive of the guest; its path.
    pub fn pack(&self, scenario: &mut Scenario) -> String {
        let (image, archive) = (self.put(scenario), format!("{}.tar", self.dir));
        scenario.run(&["extract", &image, "--tar", &archive]);
        archive
    }

    fn put(&self, scenario: &mut Scenario) -> String {
        let image = format!("{}.img", self.dir);
        scenario.put(&image, self.image.clone());
        image
    }

    /// The tree's digest.
    pub fn digest(&self) -> &str {
        &self.seen.digest
    }

    /// Walks the mounted file system; the lines are wanted only if the tree is another.
    pub fn walk(&self, scenario: &mut Scenario) -> At {
        scenario.walk(std::slice::from_ref(&self.seen.digest))
    }

    /// Fails unless a walk found it.
    pub fn expect(&self, played: &Played, walk: At) -> Result<()> {
        let digest = played.digest(walk)?;
        ensure!(
            digest == self.digest(),
            "the tree is not that of {}:\n{}",
            self.dir,
            self.seen.difference(played.lines(walk))
        );
        Ok(())
    }
}

/// Puts the configuration of the running kernel where distributions have it.
pub fn install_config(scenario: &mut Scenario, kernel: &Kernel, text: &str) -> At {
    scenario.put(&format!("/boot/config-{}", kernel.version()), text.as_bytes())
}

/// What a configuration says of a kernel that knows summaries.
pub const WITH_SUMMARIES: &str = "CONFIG_JFFS2_FS=m\nCONFIG_JFFS2_SUMMARY=y\n";
/// And of one that does not.
pub const WITHOUT_SUMMARIES: &str = "CONFIG_JFFS2_FS=m\n# CONFIG_JFFS2_SUMMARY is not set\n";

/// Lets the kernel count, from now on, each erase of any MTD device: by eraseblock, and by who has asked for it.
pub fn count_erases(scenario: &mut Scenario) {
    // An earlier scenario of the boot may have done so.
    scenario.write(&format!("{TRACING}/kprobe_events"), "p:erase mtd:mtd_erase addr=+0($arg2):u64");
    scenario.may_fail();
    let trigger = format!("{TRACING}/events/kprobes/erase/trigger");
    scenario.write(&trigger, &format!("!{ERASES}"));
    scenario.may_fail();
    scenario.write(&trigger, ERASES);
}

/// Reads what was counted, for [`Wear::of`].
pub fn read_erases(scenario: &mut Scenario) -> At {
    scenario.read(&format!("{TRACING}/events/kprobes/erase/hist"))
}

/// Erases per eraseblock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wear {
    /// By index of the eraseblock.
    pub blocks: Vec<u64>,
    /// By the name of the program or kernel thread.
    pub by: BTreeMap<String, u64>,
}

impl Wear {
    /// What a step read that [`read_erases`] made.
    pub fn of(played: &Played, read: At, device: Device) -> Result<Self> {
        played.done(read)?;
        let mut wear = Self { blocks: vec![0; device.blocks() as usize], by: BTreeMap::new() };
        let lines = played.lines(read);
        for line in lines.iter().filter(|line| line.starts_with("{ addr:")) {
            let (offset, who, count) = histogram_line(line).with_context(|| format!("a histogram's line: {line}"))?;
            let block = wear.blocks.get_mut((offset / u64::from(device.block_size())) as usize);
            *block.with_context(|| format!("an erase beyond the device: {line}"))? += count;
            *wear.by.entry(who).or_default() += count;
        }
        // No line was lost, and none that is not understood.
        let hits = lines.iter().find_map(|line| line.trim().strip_prefix("Hits: ")).context("no sum")?;
        ensure!(hits.parse() == Ok(wear.total()), "{hits} erases, but the eraseblocks have {}", wear.total());
        ensure!(lines.iter().any(|line| line.trim() == "Dropped: 0"), "erases were dropped");
        Ok(wear)
    }

    /// All erases.
    pub fn total(&self) -> u64 {
        self.blocks.iter().sum()
    }

    /// Fewest, mean and most erases of an eraseblock, as text.
    pub fn summary(&self) -> String {
        let (min, max) = (self.blocks.iter().min().unwrap_or(&0), self.blocks.iter().max().unwrap_or(&0));
        let mean = self.total() as f64 / self.blocks.len().max(1) as f64;
        format!("erases per eraseblock: {min} min, {mean:.1} mean, {max} max; by {:?}", self.by)
    }
}

/// `{ addr:     65536, common_pid: jffs2_gcd_mtd0  [        85] } hitcount:          3`
fn histogram_line(line: &str) -> Option<(u64, String, u64)> {
    let (keys, count) = line.split_once("} hitcount:")?;
    let (offset, who) = keys.strip_prefix("{ addr:")?.split_once(", common_pid:")?;
    let (who, _) = who.split_once('[')?;
    Some((offset.trim().parse().ok()?, who.trim().to_owned(), count.trim().parse().ok()?))
}

/// The one JSON object that a program has printed; it must have ended with exit code 0.
pub fn json(played: &Played, program: At) -> Result<Value> {
    let exit = played.exit(program)?;
    if exit.code != Some(0) {
        bail!("exit code {:?}: {}", exit.code, exit.err.join("; "));
    }
    let text = exit.out.join("\n");
    serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
}

/// A number of the JSON object that a program has printed.
pub fn json_number(played: &Played, program: At, key: &str) -> Result<u64> {
    let object = json(played, program)?;
    object[key].as_u64().with_context(|| format!("no number {key} in {object}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_understood() {
        let line = "{ addr:    1900544, common_pid: jffs2_gcd_mtd0  [        85] } hitcount:          3";
        assert_eq!(histogram_line(line), Some((1_900_544, "jffs2_gcd_mtd0".to_owned(), 3)));
        assert_eq!(histogram_line("    Hits: 94"), None);
    }
}
