//! The narrow waist of Ringway: message types, plug-in traits and Env.
