//! Named tensors in a safetensors file, and how they get into a network.
//!
//! A file is compared with the network in both directions before a value is copied: a missing, an unexpected,
//! a misshapen and a not finite tensor are each named. (`VarStore::load` would broadcast, cast, and ignore.)

pub mod writing;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Kind, Tensor, nn};

use crate::model::backbone::BackboneKind;

/// The network's tensors have at most four. libtorch fails on many, and on the product of large ones beside a 0.
const MAX_DIMENSIONS: usize = 8;

/// The tensors of one file. All on the CPU.
#[derive(Debug)]
pub struct Weights {
    pub file: PathBuf,
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: HashMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("cannot read {file}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file} is not a whole safetensors file")]
    NotSafetensors { file: PathBuf, source: safetensors::SafeTensorError },
    #[error("{file}: tensor {name:?} has type {found}, which csflowd does not read")]
    Type { file: PathBuf, name: String, found: String },
    #[error(
        "{file}: tensor {name:?} has shape {found:?}; csflowd reads 0 to {MAX_DIMENSIONS} dimensions without a 0"
    )]
    Dimensions { file: PathBuf, name: String, found: Vec<usize> },
    #[error("{file}: tensor {name} is missing ({more} more are missing)")]
    Missing { file: PathBuf, name: String, more: usize },
    #[error("{file}: tensor {name:?} belongs to no part of the network ({more} more do not)")]
    Unexpected { file: PathBuf, name: String, more: usize },
    #[error("{file}: tensor {name} has shape {found:?}, the network needs {expected:?}")]
    Shape { file: PathBuf, name: String, expected: Vec<i64>, found: Vec<i64> },
    #[error("{file}: tensor {name} has type {found:?}, the network needs {expected:?}")]
    Kind { file: PathBuf, name: String, expected: Kind, found: Kind },
    #[error("{file}: tensor {name} holds a value that is not finite")]
    NotFinite { file: PathBuf, name: String },
}

impl Weights {
    pub fn read(file: &Path) -> Result<Self, WeightsError> {
        let bytes =
            std::fs::read(file).map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
        Self::parse(file, &bytes)
    }

    /// `file` is named in errors only.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, WeightsError> {
        let broken = |source| WeightsError::NotSafetensors { file: file.to_owned(), source };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let parsed = SafeTensors::deserialize(bytes).map_err(broken)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in parsed.tensors() {
            let found = view.shape();
            if found.len() > MAX_DIMENSIONS || found.contains(&0) {
                let found = found.to_vec();
                return Err(WeightsError::Dimensions { file: file.to_owned(), name, found });
            }
            let Some(tensor) = to_tensor(&view) else {
                let found = format!("{:?}", view.dtype());
                return Err(WeightsError::Type { file: file.to_owned(), name, found });
            };
            tensors.insert(name, tensor);
        }
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { file: file.to_owned(), tensors, metadata })
    }

    /// Takes out the tensors whose names begin with `prefix`, without it.
    #[must_use]
    pub fn take(&mut self, prefix: &str) -> Weights {
        let names: Vec<String> = self.tensors.keys().filter(|n| n.starts_with(prefix)).cloned().collect();
        let tensors = names
            .into_iter()
            .filter_map(|name| {
                let tensor = self.tensors.remove(&name)?;
                Some((name[prefix.len()..].to_owned(), tensor))
            })
            .collect();
        Weights { file: self.file.clone(), tensors, metadata: HashMap::new() }
    }

    /// How many numbers all tensors hold together.
    pub fn values(&self) -> usize {
        self.tensors.values().map(Tensor::numel).sum()
    }

    /// Copies every tensor into the variable of the same name. Names for which `is_beyond` holds may stand in
    /// the file without a variable. Nothing is copied unless everything fits.
    pub fn load_into(
        &self,
        store: &nn::VarStore,
        is_beyond: impl Fn(&str) -> bool,
    ) -> Result<(), WeightsError> {
        tch::no_grad(|| {
            for (name, variable) in &mut self.fitting(store, is_beyond)? {
                variable.copy_(&self.tensors[name]);
            }
            Ok(())
        })
    }

    /// The variables of a network, if there is a tensor for each that fits and none beyond.
    fn fitting(
        &self,
        store: &nn::VarStore,
        is_beyond: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Tensor>, WeightsError> {
        let variables: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        let file = || self.file.clone();

        let mut missing = variables.keys().filter(|name| !self.tensors.contains_key(*name));
        if let Some(name) = missing.next() {
            return Err(WeightsError::Missing { file: file(), name: name.clone(), more: missing.count() });
        }
        let mut unexpected =
            self.tensors.keys().filter(|name| !variables.contains_key(*name) && !is_beyond(name));
        if let Some(name) = unexpected.next() {
            return Err(WeightsError::Unexpected {
                file: file(),
                name: name.clone(),
                more: unexpected.count(),
            });
        }
        for (name, variable) in &variables {
            self.check(name, variable)?;
        }
        Ok(variables)
    }

    /// Checks the same, and lets each variable, which is on the CPU, have the tensor itself: neither may be changed.
    pub fn share_into(
        &self,
        store: &nn::VarStore,
        is_beyond: impl Fn(&str) -> bool,
    ) -> Result<(), WeightsError> {
        tch::no_grad(|| {
            for (name, variable) in &mut self.fitting(store, is_beyond)? {
                variable.set_data(&self.tensors[name]);
            }
            Ok(())
        })
    }

    fn check(&self, name: &str, variable: &Tensor) -> Result<(), WeightsError> {
        let (file, name, tensor) = (self.file.clone(), name.to_owned(), &self.tensors[name]);
        if tensor.size() != variable.size() {
            return Err(WeightsError::Shape { file, name, expected: variable.size(), found: tensor.size() });
        }
        if tensor.kind() != variable.kind() {
            return Err(WeightsError::Kind { file, name, expected: variable.kind(), found: tensor.kind() });
        }
        if !is_finite(tensor) {
            return Err(WeightsError::NotFinite { file, name });
        }
        Ok(())
    }
}

/// The backbone's weights where `make setup` and the package put them: the folder that `CSFLOWD_WEIGHTS` names,
/// `~/.cache/csflowd/weights`, `/usr/share/csflowd/weights`.
pub fn find(kind: BackboneKind) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let folders = [
        std::env::var_os("CSFLOWD_WEIGHTS").map(PathBuf::from),
        cache.map(|cache| cache.join("csflowd/weights")),
        Some("/usr/share/csflowd/weights".into()),
    ];
    let name = format!("{}.safetensors", kind.name());
    folders.into_iter().flatten().map(|folder| folder.join(&name)).find(|file| file.is_file())
}

/// Whether no value is infinite or NaN.
pub fn is_finite(tensor: &Tensor) -> bool {
    !tensor.is_floating_point() || tensor.isfinite().all().int64_value(&[]) != 0
}

/// The bytes of a tensor, row-major, little endian.
pub fn to_bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// The safetensors type of a tensor, if csflowd writes such.
pub fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|(_, k)| *k == kind).map(|(dtype, _)| *dtype)
}

const KINDS: [(Dtype, Kind); 8] = [
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::U8, Kind::Uint8),
    (Dtype::BOOL, Kind::Bool),
];

fn to_tensor(view: &TensorView<'_>) -> Option<Tensor> {
    let (_, kind) = KINDS.iter().find(|(dtype, _)| *dtype == view.dtype())?;
    let size: Vec<i64> = view.shape().iter().map(|&n| i64::try_from(n).ok()).collect::<Option<_>>()?;
    Some(Tensor::from_data_size(view.data(), &size, *kind))
}
