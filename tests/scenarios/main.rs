//! What the product promises as a whole, each promise run from end to end.

mod bounds;
mod conditional_create;
mod crash;
mod demo;
mod examples;
mod generated;
mod second_opinion;
