//! Amounts of node resources.

use smallvec::SmallVec;

use super::Name;

/// CPU, memory and everything else that is counted per node. Missing is zero.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Resources {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of ephemeral storage.
    pub ephemeral: i64,
    /// Extended resources and huge pages, sorted by name; whole units.
    pub scalar: SmallVec<[(Name, i64); 0]>,
}

impl Resources {
    /// The amount of an extended resource.
    pub fn scalar(&self, name: Name) -> i64 {
        self.scalar.iter().find(|entry| entry.0 == name).map_or(0, |entry| entry.1)
    }

    /// Sets the amount of an extended resource, keeping the order.
    pub fn set_scalar(&mut self, name: Name, amount: i64) {
        match self.scalar.binary_search_by_key(&name, |entry| entry.0) {
            Ok(position) => self.scalar[position].1 = amount,
            Err(position) => self.scalar.insert(position, (name, amount)),
        }
    }

    /// Adds the other amounts.
    pub fn add(&mut self, other: &Resources) {
        self.milli_cpu += other.milli_cpu;
        self.memory += other.memory;
        self.ephemeral += other.ephemeral;
        for &(name, amount) in &other.scalar {
            self.set_scalar(name, self.scalar(name) + amount);
        }
    }

    /// Takes the other amounts away.
    pub fn subtract(&mut self, other: &Resources) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        self.ephemeral -= other.ephemeral;
        for &(name, amount) in &other.scalar {
            self.set_scalar(name, self.scalar(name) - amount);
        }
    }

    /// Raises each amount to at least the other's.
    pub fn raise_to(&mut self, other: &Resources) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral = self.ephemeral.max(other.ephemeral);
        for &(name, amount) in &other.scalar {
            self.set_scalar(name, self.scalar(name).max(amount));
        }
    }

    /// Whether every amount is zero.
    pub fn is_zero(&self) -> bool {
        self.milli_cpu == 0 && self.memory == 0 && self.ephemeral == 0 && self.scalar.iter().all(|entry| entry.1 == 0)
    }
}
