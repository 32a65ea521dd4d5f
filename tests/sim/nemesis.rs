//! What breaks: nodes crash and come back, the network splits and joins, clocks jump, connections are reset; and
//! nodes go back to an old copy of their disk, start from a copy of another's, or are struck from the roster
//! while they are away.

use grapevine::store::CLOCK_LEAP_MS;
use rand::RngExt;

use crate::{
    invariants::Observed,
    node::Disk,
    world::{Happening, World},
};

/// How far clocks are off that peers still talk to.
const TOLERABLE_SKEW_MS: i64 = 25_000;
/// How far clocks jump at the worst.
const MAX_JUMP_MS: i64 = 5 * 60_000;

impl World {
    pub(crate) fn nemesis(&mut self) {
        if !self.turmoil {
            return;
        }
        let number = self.rng.random_range(0..self.nodes.len());
        let kinds = if self.settings.disturbs { 14 } else { 7 };
        match self.rng.random_range(0..kinds) {
            6 => self.send_courier(),
            7 => {
                let disk = self.nodes[number].disk.clone();
                self.nodes[number].copy = Some((disk, self.nodes[number].life));
            }
            8 => self.restore(number),
            9 => {
                let from = self.rng.random_range(0..self.nodes.len());
                self.clone_directory(from, number);
            }
            10 | 11 => self.isolate(number),
            12 => self.take_machine(number),
            13 => self.put_machine_back(number),
            0 | 1 => self.crash_for_a_while(number),
            2 | 3 => self.split_for_a_while(),
            4 => {
                let far = if self.rng.random_bool(0.3) {
                    MAX_JUMP_MS
                } else {
                    TOLERABLE_SKEW_MS
                };
                self.nodes[number].skew_ms = self.rng.random_range(-far..=far);
            }
            _ => {
                let sees: Vec<_> = self.nodes[number].sees.keys().copied().collect();
                for life in sees {
                    self.disconnect(number, life);
                }
            }
        }
        let next = self.rng.random_range(1..=self.settings.nemesis_period_ms);
        self.after(next, Happening::Nemesis);
    }

    fn crash_for_a_while(&mut self, number: usize) {
        if self.nodes[number].up {
            self.crash(number);
            let away = self.rng.random_range(50..3_000);
            self.after(away, Happening::Restart(number));
        }
    }

    /// A node comes back from an old copy of its disk.
    pub(crate) fn restore(&mut self, number: usize) {
        if !self.nodes[number].up {
            return;
        }
        let Some((disk, _)) = self.nodes[number].copy.clone() else {
            return;
        };
        self.crash(number);
        self.go_back(number, disk);
    }

    /// A node comes back from a copy of another's directory, while the other goes on.
    pub(crate) fn clone_directory(&mut self, from: usize, to: usize) {
        if from == to || !self.nodes[to].up {
            return;
        }
        self.crash(to);
        self.nodes[to].store = self.nodes[from].store;
        let disk = self.nodes[from].disk.clone();
        self.go_back(to, disk);
    }

    fn take_machine(&mut self, number: usize) {
        if self.nodes[number].up {
            let wall_ms = self.wall_ms(number);
            let node = &mut self.nodes[number];
            node.clock.look(wall_ms, self.now_ms - node.behind_ms);
            self.nodes[number].machine = Some(self.snapshot(number));
        }
    }

    /// A machine goes on from an old snapshot, and its time of day leaps: runs are short, so it leaps further than the
    /// snapshot is old.
    fn put_machine_back(&mut self, number: usize) {
        let node = &self.nodes[number];
        if let (true, Some(mut machine)) = (node.up, node.machine.clone()) {
            let age_ms = self.now_ms - machine.taken_ms;
            let leap_ms = i64::try_from(CLOCK_LEAP_MS).expect("some seconds");
            machine.skew_ms += if machine.skew_ms > 0 {
                -leap_ms.saturating_add_unsigned(age_ms)
            } else {
                leap_ms
            };
            self.narrate(|| format!("the machine of node {number} is put back"));
            self.roll_back(number, machine);
            // Nodes look at their clocks all the time; what clocks do later hides no leap.
            let wall_ms = self.wall_ms(number);
            let node = &mut self.nodes[number];
            node.clock.look(wall_ms, self.now_ms - node.behind_ms);
        }
    }

    fn go_back(&mut self, number: usize, disk: Disk) {
        self.narrate(|| format!("node {number} goes back"));
        self.disturbed = true;
        let (_, had) = self.nodes[number].disk.replay();
        let (_, has) = disk.replay();
        self.history.lose(&had, &has);
        self.history.times.remove(&number);
        let node = &mut self.nodes[number];
        node.disk = disk;
        node.restored = true;
        node.copy = None;
        let away = self.rng.random_range(50..1_500);
        self.after(away, Happening::Restart(number));
    }

    /// A node is cut off for so long that another takes it off the roster.
    fn isolate(&mut self, number: usize) {
        let sides = (0..self.nodes.len()).map(|other| u8::from(other == number));
        self.narrate(|| format!("node {number} is isolated"));
        self.network.split(sides.collect());
        let silent = self.rng.random_range(200..1_500);
        self.after(silent, Happening::Expel(number));
        let apart = self.rng.random_range(1_000..5_000);
        self.after(apart, Happening::Join);
    }

    /// Whoever does not reach a node takes it off the roster, and the node takes them off, with luck.
    pub(crate) fn expel(&mut self, victim: usize) {
        if !self.turmoil {
            return;
        }
        for number in 0..self.nodes.len() {
            let apart = !self.network.reach(number, victim);
            if number != victim && apart && self.rng.random_bool(0.3) {
                self.strike(number, victim);
            }
            if number != victim && apart && self.rng.random_bool(0.2) {
                self.strike(victim, number);
            }
        }
    }

    fn split_for_a_while(&mut self) {
        let sides = (0..self.nodes.len())
            .map(|_| self.rng.random_range(0..2))
            .collect();
        self.narrate(|| format!("the network is split {sides:?}"));
        self.network.split(sides);
        let apart = self.rng.random_range(200..4_000);
        self.after(apart, Happening::Join);
    }

    /// Power is cut. The group that was on its way to the disk may or may not have made it.
    pub(crate) fn crash(&mut self, number: usize) {
        self.narrate(|| format!("node {number} crashes"));
        let staged = self.nodes[number].staged.take();
        if let Some(staged) = staged
            && self.rng.random_bool(0.3)
        {
            self.durable(number, &staged.group, &staged.edits);
            self.nodes[number].disk.append(staged.group);
        }
        self.nodes[number].crash();
    }

    pub(crate) fn restart(&mut self, number: usize) {
        if self.nodes[number].up {
            return;
        }
        let life = self.mint(number);
        let engine = self.engine(self.nodes[number].store);
        let before = self.nodes[number].state.clone();
        self.nodes[number].restart(life, engine, self.fault);
        self.check(&Observed::Restarted {
            node: number,
            before: &before,
        });
        self.nodes[number].restored = false;
        if self.settings.collects {
            self.keep_roster(number);
        }
    }

    /// Everything works again, and stays so.
    pub(crate) fn heal(&mut self) {
        self.turmoil = false;
        self.network.join();
        for number in 0..self.nodes.len() {
            let skew = self
                .rng
                .random_range(-TOLERABLE_SKEW_MS..=TOLERABLE_SKEW_MS);
            self.nodes[number].skew_ms = skew;
            self.restart(number);
        }
    }
}
