"""Makes a model folder of a GGUF file, or says in one line why not:

python -m seal_ray.model.conversion FILE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from seal_ray.model.gguf import REFUSED
from seal_ray.model.kinds import why_no_base
from seal_ray.model.sanity import refuse_babbling
from seal_ray.plain import one_line
from seal_ray.types import UserError


def convert(file: Path, folder: Path) -> None:
    """Read the file through Transformers, see that what comes out is a language model, and keep it."""
    begins = _whole(file)
    model, tokenizer = _read(file)
    if begins is not None:  # the reader passes over it, and Gemma babbles without its first token
        tokenizer.add_bos_token = begins
    refuse_babbling(model, tokenizer)
    # What was read so would not be saved: it still says that it is packed.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _whole(file: Path) -> bool | None:
    """Refuse a file that ends before what its header promises, and one of several that belong together.

    Returns whether texts begin with a token of their own, where the file says so.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(file)
        ends = max((int(tensor.data_offset + tensor.n_bytes) for tensor in reader.tensors), default=0)
        parts, begins = map(reader.get_field, ("split.count", "tokenizer.ggml.add_bos_token"))
    except Exception as error:  # the reader looks for numbers where the file has none, and stumbles in many ways
        raise UserError(f"the GGUF file is cut short or damaged ({one_line(str(error), 80)}); get it again") from None
    if ends > file.stat().st_size or not ends:
        raise UserError(f"the GGUF file is cut short: {file.stat().st_size} bytes of at least {ends}; get it again")
    if parts and (count := int(parts.contents())) > 1:
        raise UserError(f"the GGUF file is one of {count} parts; join them into one (llama.cpp's gguf-split --merge)")
    # Transformers would read all names and tokens four times more, which takes longer than all that it does with them.
    gguf.GGUFReader = lambda *_: reader  # type: ignore[assignment, misc]
    return bool(begins.contents()) if begins else None


def _read(file: Path) -> tuple[Any, Any]:
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where, name = str(file.parent), file.name
    try:
        config = AutoConfig.from_pretrained(where, gguf_file=name)
        if reason := why_no_base(config.to_dict()):
            raise UserError(reason)
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
        read: Any = AutoModelForCausalLM.from_pretrained(
            where, gguf_file=name, config=config, dtype=torch.float32, output_loading_info=True
        )
    except UserError:
        raise
    except Exception as error:  # whatever a file may lack or have too much of
        raise UserError(
            f"Transformers {transformers.__version__} cannot read this GGUF file: {one_line(str(error))}; "
            "give the original model as a folder or by its name on the hub"
        ) from None
    model, loaded = read
    if lacking := sorted(loaded["missing_keys"]):
        raise UserError(f"the GGUF file lacks {len(lacking)} of the model's weights, such as {lacking[0]}")
    return model.eval(), tokenizer


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        print(error)
        sys.exit(REFUSED)
