//! What the product promises as a whole, each promise run from end to end.

mod bounds;
mod conditional_create;
mod crash;
mod demo;
mod examples;
mod fhirpath;
mod generated;
mod search_parameter;
mod second_opinion;
mod ucum;
