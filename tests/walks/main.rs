//! Whole runs under the eyes of the judge: wrong planners, properties over made-up clusters, pictures.

mod clusters;
mod pictures;
mod properties;
mod run;
mod wrong_planners;
