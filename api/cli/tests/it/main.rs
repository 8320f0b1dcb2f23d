//! The `cluster` program, run as its users run it.

mod check;
mod demo;
mod doctor;
mod process;
mod run;
