//! Stands for the server where the library is not installed.

use crate::Error;

/// None.
pub struct Server(());

impl Server {
    /// Fails, and says what to do.
    pub fn listen() -> Result<Self, Error> {
        Err(Error("not installed when this was built (Debian: apt-get install libnng-dev)".to_owned()))
    }

    /// Nowhere.
    pub fn address(&self) -> &str {
        ""
    }

    /// Cannot be called.
    pub fn connect(&mut self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Cannot be called.
    pub fn send(&self, _: u64, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// Cannot be called.
    pub fn recv<T>(&self, _: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        Self::listen().map(|_| unreachable!("it does not listen"))
    }
}
