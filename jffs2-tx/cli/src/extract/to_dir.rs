//! Recreates a plan below a directory of the host: directories first, then everything in them on all cores, then hard
//! links, and the directories' own metadata last, deepest first, because what is created in one changes its time.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::{Attribute, LostAttribute, Stat};

use super::contents::{BUFFER, Hasher, copy};
use super::host::{Dir, is_refusal};
use super::outcome::{Outcome, Trouble};
use super::plan::{Item, Plan, Unit};
use super::progress::Progress;
use super::source::Source;
use crate::failure::{Exit, Failure};
use crate::show;

/// More threads than this wait for the host's file system rather than for each other.
const MAX_THREADS: usize = 16;

/// What is to be done, shared by all threads.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) source: Source<'a>,
    /// Where to; nowhere if only hashes are wanted.
    pub(super) root: Option<&'a Dir>,
    pub(super) xattrs: bool,
    /// Items before this one are hashed.
    pub(super) hash_until: usize,
}

/// An error that ends the extraction, at an item.
type Fatal = (usize, io::Error);

impl Job<'_> {
    pub(super) fn run(&self) -> Result<Outcome, Failure> {
        self.try_run()
            .map_err(|(item, error)| Failure::new(Exit::Io, format!("{}: {error}", show::path(&self.plan.path(item)))))
    }

    fn try_run(&self) -> Result<Outcome, Fatal> {
        let mut outcome = Outcome::default();
        let made = Made((0..self.plan.items.len()).map(|_| AtomicBool::new(false)).collect());
        if let Some(root) = self.root {
            self.make_directories(root, &made, &mut outcome)?;
        }
        for done in self.all_units(&made)? {
            outcome.add(done);
        }
        if let Some(root) = self.root {
            self.make_links(root, &made, &mut outcome)?;
            self.finish_directories(root, &made, &mut outcome)?;
        }
        outcome.sort();
        Ok(outcome)
    }

    fn make_directories(&self, root: &Dir, made: &Made, outcome: &mut Outcome) -> Result<(), Fatal> {
        made.set(0);
        outcome.counts.directories = 1;
        let mut parents = Parents::new(self.plan, root);
        for item in self.plan.directories().skip(1) {
            let Item { parent, name, .. } = self.plan.items[item];
            if !made.get(parent as usize) {
                continue;
            }
            let result = parents.open(parent as usize).and_then(|parent| parent.make_dir(name));
            if taken(item, result, outcome)? {
                made.set(item);
                outcome.counts.directories += 1;
            }
        }
        Ok(())
    }

    fn all_units(&self, made: &Made) -> Result<Vec<Outcome>, Fatal> {
        let units = self.plan.units(|item| match item.kind {
            FileKind::File => self.source.size(item.ino),
            _ => 0,
        });
        let progress = Progress::new(units.iter().map(|unit| unit.bytes).sum());
        let queue = Queue { units: &units, next: AtomicUsize::new(0), progress: &progress };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(units.len());
        let results: Vec<_> = thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work(&queue, made))).collect();
            started.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        progress.done();
        let mut done = Vec::new();
        let mut first: Option<Fatal> = None;
        for result in results {
            match result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(outcome) => done.push(outcome),
                Err(error) if first.as_ref().is_none_or(|first| error.0 < first.0) => first = Some(error),
                Err(_) => {}
            }
        }
        first.map_or(Ok(done), Err)
    }

    /// One thread: takes units until there are none, or a thread has failed.
    fn work(&self, queue: &Queue<'_>, made: &Made) -> Result<Outcome, Fatal> {
        let mut worker = Worker { job: self, outcome: Outcome::default(), buf: vec![0; BUFFER] };
        while let Some(unit) = queue.take() {
            if self.root.is_none() || made.get(unit.parent) {
                worker.unit(unit, made).inspect_err(|_| queue.stop())?;
            }
            queue.progress.add(unit.bytes);
        }
        Ok(worker.outcome)
    }

    fn make_links(&self, root: &Dir, made: &Made, outcome: &mut Outcome) -> Result<(), Fatal> {
        let (mut parents, mut firsts) = (Parents::new(self.plan, root), Parents::new(self.plan, root));
        for item in self.plan.hard_links() {
            let Item { parent, name, first, .. } = self.plan.items[item];
            let first = first.map_or(0, |first| first.get() as usize);
            // What was left out, was left out under all of its names.
            if !made.get(parent as usize) || !made.get(first) {
                continue;
            }
            let Item { parent: first_parent, name: first_name, .. } = self.plan.items[first];
            let result = firsts
                .open(first_parent as usize)
                .and_then(|from| parents.open(parent as usize)?.link(from, first_name, name));
            if taken(item, result, outcome)? {
                outcome.counts.hard_links += 1;
            }
        }
        Ok(())
    }

    fn finish_directories(&self, root: &Dir, made: &Made, outcome: &mut Outcome) -> Result<(), Fatal> {
        for item in self.plan.directories().rev().filter(|item| made.get(*item)) {
            // What was made for a path alone is the user's own.
            if self.source.is_made_up(self.plan.items[item].ino) {
                continue;
            }
            let Some((stat, xattrs)) = self.meta(item, outcome) else { continue };
            let dir = root.open_below(&self.plan.path(item)).map_err(|error| (item, error))?;
            let result = dir.set_own_meta(&stat, &xattrs, &mut outcome.left_out);
            taken(item, result, outcome)?;
        }
        Ok(())
    }

    /// Metadata of an item; what of it cannot be read is said.
    fn meta(&self, item: usize, outcome: &mut Outcome) -> Option<(Stat, Vec<Attribute>)> {
        let ino = self.plan.items[item].ino;
        match self.source.stat(ino) {
            Ok(stat) => Some((stat, if self.xattrs { xattrs(self.source, item, ino, outcome) } else { Vec::new() })),
            Err(error) => {
                outcome.trouble(item, Trouble::Damaged(error.to_string()));
                None
            }
        }
    }
}

/// Extended attributes of an item; which of them cannot be read is said.
pub(super) fn xattrs(source: Source<'_>, item: usize, ino: u32, outcome: &mut Outcome) -> Vec<Attribute> {
    match source.xattrs(ino) {
        Ok((lost, found)) => {
            for LostAttribute { at, what } in lost {
                outcome.trouble(item, Trouble::Damaged(format!("{what}, node at {at:#x}")));
            }
            found
        }
        Err(error) => {
            outcome.trouble(item, Trouble::Damaged(error.to_string()));
            Vec::new()
        }
    }
}

/// Whether the host took it. What it refuses is said; anything else ends the extraction.
fn taken(item: usize, result: io::Result<()>, outcome: &mut Outcome) -> Result<bool, Fatal> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_refusal(&error) => {
            outcome.trouble(item, Trouble::Host(format!("not possible here: {error}")));
            Ok(false)
        }
        Err(error) => Err((item, error)),
    }
}

/// Which items have been created, or written to as far as they can be.
struct Made(Vec<AtomicBool>);

impl Made {
    fn get(&self, item: usize) -> bool {
        self.0[item].load(Relaxed)
    }

    fn set(&self, item: usize) {
        self.0[item].store(true, Relaxed);
    }
}

/// Units that no thread has taken yet.
struct Queue<'a> {
    units: &'a [Unit],
    next: AtomicUsize,
    progress: &'a Progress,
}

impl Queue<'_> {
    fn take(&self) -> Option<&Unit> {
        self.units.get(self.next.fetch_add(1, Relaxed))
    }

    fn stop(&self) {
        self.next.store(self.units.len(), Relaxed);
    }
}

/// The directory that was opened last: the next item is most often in the same one.
struct Parents<'a> {
    plan: &'a Plan<'a>,
    root: &'a Dir,
    last: Option<(usize, Dir)>,
}

impl<'a> Parents<'a> {
    fn new(plan: &'a Plan<'a>, root: &'a Dir) -> Self {
        Self { plan, root, last: None }
    }

    fn open(&mut self, item: usize) -> io::Result<&Dir> {
        let dir = match self.last.take() {
            Some(last) if last.0 == item => last.1,
            _ => self.root.open_below(&self.plan.path(item))?,
        };
        Ok(&self.last.insert((item, dir)).1)
    }
}

struct Worker<'a> {
    job: &'a Job<'a>,
    outcome: Outcome,
    buf: Vec<u8>,
}

impl Worker<'_> {
    fn unit(&mut self, unit: &Unit, made: &Made) -> Result<(), Fatal> {
        let plan = self.job.plan;
        let open = |root: &Dir| root.open_below(&plan.path(unit.parent));
        let dir = self.job.root.map(open).transpose().map_err(|error| (unit.parent, error))?;
        for item in unit.items.clone() {
            let result = self.item(dir.as_ref(), item);
            let mut is_made = false;
            let result = result.map(|created| is_made = created);
            if taken(item, result, &mut self.outcome)? && is_made {
                made.set(item);
            }
        }
        Ok(())
    }

    /// Creates an item; whether there is something now that can be linked to.
    fn item(&mut self, dir: Option<&Dir>, at: usize) -> io::Result<bool> {
        let item = &self.job.plan.items[at];
        if item.kind == FileKind::File {
            return self.file(dir, at, item);
        }
        let Some(dir) = dir else { return Ok(false) };
        let Some((stat, xattrs)) = self.job.meta(at, &mut self.outcome) else { return Ok(false) };
        let created = match item.kind {
            FileKind::Symlink => match self.job.source.read_link(item.ino) {
                Ok(target) if target.contains(&0) => self.damaged(at, "symlink target holds a NUL".into()),
                Ok(target) => dir.symlink(item.name, &target).map(|()| true)?,
                Err(error) => self.damaged(at, error.to_string()),
            },
            _ => dir.node(item.name, &stat, &mut self.outcome.left_out)?,
        };
        if created {
            dir.set_meta_at(item.name, &stat, &xattrs, &mut self.outcome.left_out)?;
            let counts = &mut self.outcome.counts;
            match item.kind {
                FileKind::Symlink => counts.symlinks += 1,
                FileKind::Fifo => counts.fifos += 1,
                _ => counts.devices += 1,
            }
        }
        Ok(created)
    }

    fn file(&mut self, dir: Option<&Dir>, at: usize, item: &Item<'_>) -> io::Result<bool> {
        let Some((stat, xattrs)) = self.job.meta(at, &mut self.outcome) else { return Ok(false) };
        let mut file = match self.job.source.open(item.ino) {
            Ok(file) => file,
            Err(error) => return Ok(self.damaged(at, error.to_string())),
        };
        let mut hasher = (at < self.job.hash_until).then(Hasher::new);
        if dir.is_none() && hasher.is_none() {
            return Ok(false);
        }
        let mut out = dir.map(|dir| dir.make_file(item.name)).transpose()?;
        let bytes = &mut self.outcome.counts.bytes;
        let lost = copy(&mut file, &mut self.buf, |offset, data| {
            *bytes += data.len() as u64;
            if let Some(hasher) = &mut hasher {
                hasher.put(offset, data);
            }
            out.as_mut().map_or(Ok(()), |out| out.write_at(offset, data))
        })?;
        self.outcome.troubles.extend(lost.into_iter().map(|lost| (at, Trouble::Lost(lost))));
        self.outcome.digests.extend(hasher.map(|hasher| (at, hasher.finish(stat.size))));
        self.outcome.counts.files += 1;
        match out {
            Some(out) => out.finish(&stat, &xattrs, &mut self.outcome.left_out).map(|()| true),
            None => Ok(false),
        }
    }

    fn damaged(&mut self, at: usize, why: String) -> bool {
        self.outcome.trouble(at, Trouble::Damaged(why));
        false
    }
}
