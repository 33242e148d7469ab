//! Runs a container image in the strictest jail it can live in, and says with evidence whether it works there.
//!
//! The house has floors; a module uses only floors below its own (`tests/floors.rs` checks it):
//!
//! | floor | modules | what lives there |
//! | --- | --- | --- |
//! | 0 words | [`reference`] [`digest`] [`platform`] [`finding`] [`measure`] [`refusal`] | names parsed and printed |
//! | 1 formats | [`image`] [`profile`] [`manifest`] [`inventory`] [`smoke::plan`] [`vulns`] | bytes to own types; no file, process or network access |
//! | 2 kernel | [`sys`] | the only `unsafe`: system calls that `nix` does not offer |
//! | 3 measures | [`source`] [`registry`] [`tls`] [`store`] [`unpack`] [`rootfs`] [`layers`] [`ids`] [`caps`] [`cgroup`] [`seccomp`] [`landlock`] [`exec_memory`] [`seal`] [`netns`] [`limits`] [`sysctls`] [`process`] [`host`] [`phases`] | one thing each, done and read back |
//! | 4 jail | [`jail`] | the one ordered recipe |
//! | 5 evidence | [`smoke`] [`trace`] [`enter`] [`attack`] | what the app did, what an intruder could do |
//! | 6 judgement | [`verdict`] [`fit`] [`report`] | findings to a verdict, to the least that helps, and to text and JSON |
//! | 7 doors | [`cli`] [`example`] [`init`] | arguments, exit codes, standard output |

pub mod attack;
pub mod caps;
pub mod cgroup;
pub mod cli;
pub mod digest;
pub mod enter;
pub mod example;
pub mod exec_memory;
pub mod finding;
pub mod fit;
pub mod host;
pub mod ids;
pub mod image;
pub mod init;
pub mod inventory;
pub mod jail;
pub mod landlock;
pub mod layers;
pub mod limits;
pub mod manifest;
pub mod measure;
pub mod netns;
pub mod phases;
pub mod platform;
pub mod process;
pub mod profile;
pub mod reference;
pub mod refusal;
pub mod registry;
pub mod report;
pub mod rootfs;
pub mod seal;
pub mod seccomp;
pub mod smoke;
pub mod source;
pub mod store;
pub mod sys;
pub mod sysctls;
pub mod tls;
pub mod trace;
pub mod unpack;
pub mod verdict;
pub mod vulns;
