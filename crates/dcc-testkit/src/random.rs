//! Random choices that can be repeated: the seed is printed by the test and taken from `DCC_TEST_SEED`.

/// SplitMix64; good enough to choose moments and places.
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// The seed of the environment, or a fresh one.
    pub fn from_env() -> Self {
        let given = std::env::var("DCC_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        Self::new(given.unwrap_or_else(fresh))
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}
