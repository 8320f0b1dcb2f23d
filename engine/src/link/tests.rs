//! The protocol of one peer: its table, two links joined by connections that fail, and what a hostile peer may say.

mod application;
mod credit;
mod greeting;
mod hostile;
mod memory;
mod network;
mod simulation;
mod table;
mod timing;

use crate::testing::Random;
