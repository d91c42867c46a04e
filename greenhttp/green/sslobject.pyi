from typing_extensions import disjoint_base

from greenhttp.green.layer import _Agreed

@disjoint_base
class SimpleLayer(_Agreed): ...
