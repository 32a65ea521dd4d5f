//! What breaks: nodes crash and come back, the network splits and joins, clocks jump, connections are reset.

use grapevine::sync::engine::Engine;
use rand::RngExt;

use crate::{
    invariants::Observed,
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
        match self.rng.random_range(0..6) {
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

    fn split_for_a_while(&mut self) {
        let sides = (0..self.nodes.len())
            .map(|_| self.rng.random_range(0..2))
            .collect();
        self.network.split(sides);
        let apart = self.rng.random_range(200..4_000);
        self.after(apart, Happening::Join);
    }

    /// Power is cut. The group that was on its way to the disk may or may not have made it.
    pub(crate) fn crash(&mut self, number: usize) {
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
        let engine = Engine::new(self.settings.engine.clone());
        let before = self.nodes[number].state.clone();
        self.nodes[number].restart(life, engine, self.fault);
        self.check(&Observed::Restarted {
            node: number,
            before: &before,
        });
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
