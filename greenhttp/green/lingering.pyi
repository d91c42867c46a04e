from greenhttp.green.deadline import Phase

class Lingering(Phase):
    total: float
    most: int
    crowd: int
    crowded: str
